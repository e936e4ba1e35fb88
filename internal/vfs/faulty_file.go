package vfs

// faultyFile is an open file of a Faulty.
type faultyFile struct {
	fs   *Faulty
	base File
	name string
}

func (f *faultyFile) do(op Op, run func() error) error { return f.fs.do(op, run, f.name) }

// ReadAt implements io.ReaderAt.
func (f *faultyFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.do(OpRead, func() (err error) { n, err = f.base.ReadAt(p, off); return err })
	return n, err
}

// WriteAt implements io.WriterAt.
func (f *faultyFile) WriteAt(p []byte, off int64) (n int, err error) {
	names := []string{f.name}
	r := f.fs.decide(OpWrite, names)
	switch {
	case r == nil:
		n, err = f.base.WriteAt(p, off)
	case r.Short:
		n, err = f.base.WriteAt(p[:len(p)/2], off)
	}
	if r != nil && err == nil {
		err = pathError(OpWrite.String(), f.name, r.Err)
	}
	f.fs.done(OpWrite, names)
	return n, err
}

// Close implements io.Closer. It closes the file even when it fails.
func (f *faultyFile) Close() error {
	r := f.fs.decide(OpClose, []string{f.name})
	err := f.base.Close()
	if r != nil && err == nil {
		err = pathError(OpClose.String(), f.name, r.Err)
	}
	return err
}

// Size implements File.
func (f *faultyFile) Size() (n int64, err error) {
	err = f.do(OpSize, func() (err error) { n, err = f.base.Size(); return err })
	return n, err
}

// Truncate implements File.
func (f *faultyFile) Truncate(size int64) error {
	return f.do(OpTruncate, func() error { return f.base.Truncate(size) })
}

// Sync implements File.
func (f *faultyFile) Sync() error { return f.do(OpSync, f.base.Sync) }

// Preallocate implements File.
func (f *faultyFile) Preallocate(off, n int64) error {
	return f.do(OpPreallocate, func() error { return f.base.Preallocate(off, n) })
}
