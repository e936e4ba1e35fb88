package vfs

import (
	"io"
	"path/filepath"
	"sync"
)

// Op is a kind of operation on an FS or a File.
type Op int

// The kinds of operations. OpAny matches all of them in a Rule.
const (
	OpAny Op = iota
	OpCreate
	OpOpen
	OpRemove
	OpRemoveAll
	OpRename
	OpMkdirAll
	OpReadDir
	OpStat
	OpSyncDir
	OpSyncAll
	OpLock
	OpUsage
	OpRead
	OpWrite
	OpTruncate
	OpSync
	OpPreallocate
	OpSize
	OpClose
	numOps
)

var opNames = [numOps]string{"any", "create", "open", "remove", "removeall", "rename", "mkdirall",
	"readdir", "stat", "syncdir", "syncall", "lock", "usage",
	"read", "write", "truncate", "sync", "preallocate", "size", "close"}

// String returns the name of the operation in lower case.
func (op Op) String() string {
	if op < 0 || op >= numOps {
		return "unknown"
	}
	return opNames[op]
}

// Mutates tells whether the operation may change what a crash leaves.
func (op Op) Mutates() bool {
	switch op {
	case OpCreate, OpRemove, OpRemoveAll, OpRename, OpMkdirAll, OpSyncDir, OpSyncAll,
		OpLock, OpWrite, OpTruncate, OpSync, OpPreallocate:
		return true
	}
	return false
}

// Rule makes operations fail. The zero values of its fields choose everything.
type Rule struct {
	Op Op
	// Path is a pattern of filepath.Match, for the whole name or its last
	// part. A rename matches with either name; a file has the name it was
	// opened with.
	Path string
	// Match, if set, must accept the name too.
	Match func(name string) bool
	// From is the first matching operation that fails, counted from 1.
	From int
	// Count is how many fail from there on; 0 means all.
	Count int
	// Err is what they fail with, wrapped in a *fs.PathError.
	Err error
	// Short lets a failing write write the first half of its bytes, rounded
	// down, and a failing operation of another kind fail only after it was done.
	Short bool
}

func (r *Rule) matches(op Op, name string) bool {
	if r.Op != OpAny && r.Op != op {
		return false
	}
	if r.Path != "" {
		whole, _ := filepath.Match(r.Path, name)
		base, _ := filepath.Match(r.Path, filepath.Base(name))
		if !whole && !base {
			return false
		}
	}
	return r.Match == nil || r.Match(name)
}

// Faulty is an FS that counts the operations on another one and makes those
// fail that a rule matches. The first rule that fires decides.
type Faulty struct {
	base FS
	// OnOp, if set, is called after every operation that Mutates, failed or
	// not, with the number of such operations so far (from 1). It is called
	// without a lock, by the goroutine that ran the operation. Set it before
	// the first operation.
	OnOp func(op Op, path string, n int)

	mu       sync.Mutex
	rules    []*activeRule
	counts   [numOps]int
	mutating int
}

type activeRule struct {
	Rule
	hits int
}

// Inject wraps a file system. It panics if the pattern of a rule is malformed
// or a rule has no error, for a rule that cannot fire hides a test's mistake.
func Inject(fs FS, rules ...Rule) *Faulty {
	f := &Faulty{base: fs}
	f.Add(rules...)
	return f
}

// Add adds rules; their counting starts now.
func (f *Faulty) Add(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rules {
		if _, err := filepath.Match(r.Path, ""); err != nil {
			panic("vfs: rule with a malformed pattern " + r.Path)
		}
		if r.Err == nil {
			panic("vfs: rule without an error")
		}
		f.rules = append(f.rules, &activeRule{Rule: r})
	}
}

// Clear removes all rules.
func (f *Faulty) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Counts returns how many operations of each kind were asked for, failed ones
// included; the sum is under OpAny.
func (f *Faulty) Counts() map[Op]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[Op]int, numOps)
	for op, n := range f.counts {
		if n > 0 {
			out[Op(op)] = n
		}
	}
	return out
}

// Count returns how many operations of a kind were asked for.
func (f *Faulty) Count(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[op]
}

// decide counts one operation and returns the rule that makes it fail, if any.
func (f *Faulty) decide(op Op, names []string) *activeRule {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[op]++
	f.counts[OpAny]++
	var fires *activeRule
	for _, r := range f.rules {
		matched := false
		for _, name := range names {
			matched = matched || r.matches(op, name)
		}
		if !matched {
			continue
		}
		r.hits++
		from := max(1, r.From)
		if fires == nil && r.hits >= from && (r.Count == 0 || r.hits < from+r.Count) {
			fires = r
		}
	}
	return fires
}

// done calls the hook. The last of the names is the one an operation leaves.
func (f *Faulty) done(op Op, names []string) {
	if !op.Mutates() {
		return
	}
	f.mu.Lock()
	f.mutating++
	n := f.mutating
	f.mu.Unlock()
	if f.OnOp != nil {
		f.OnOp(op, names[len(names)-1], n)
	}
}

// do runs an operation that has no half way.
func (f *Faulty) do(op Op, run func() error, names ...string) error {
	r := f.decide(op, names)
	var err error
	if r == nil || r.Short {
		err = run()
	}
	if r != nil && err == nil {
		err = pathError(op.String(), names[0], r.Err)
	}
	f.done(op, names)
	return err
}

// Create implements FS.
func (f *Faulty) Create(name string) (File, error) { return f.open(OpCreate, name, f.base.Create) }

// Open implements FS.
func (f *Faulty) Open(name string) (File, error) { return f.open(OpOpen, name, f.base.Open) }

func (f *Faulty) open(op Op, name string, open func(string) (File, error)) (File, error) {
	var file File
	err := f.do(op, func() (err error) { file, err = open(name); return err }, name)
	if err != nil {
		if file != nil {
			file.Close()
		}
		return nil, err
	}
	return &faultyFile{fs: f, base: file, name: name}, nil
}

// Remove implements FS.
func (f *Faulty) Remove(name string) error {
	return f.do(OpRemove, func() error { return f.base.Remove(name) }, name)
}

// RemoveAll implements FS.
func (f *Faulty) RemoveAll(name string) error {
	return f.do(OpRemoveAll, func() error { return f.base.RemoveAll(name) }, name)
}

// Rename implements FS.
func (f *Faulty) Rename(oldName, newName string) error {
	return f.do(OpRename, func() error { return f.base.Rename(oldName, newName) }, oldName, newName)
}

// MkdirAll implements FS.
func (f *Faulty) MkdirAll(name string) error {
	return f.do(OpMkdirAll, func() error { return f.base.MkdirAll(name) }, name)
}

// ReadDir implements FS.
func (f *Faulty) ReadDir(name string) (names []string, err error) {
	err = f.do(OpReadDir, func() (err error) { names, err = f.base.ReadDir(name); return err }, name)
	return names, err
}

// Stat implements FS.
func (f *Faulty) Stat(name string) (info Info, err error) {
	err = f.do(OpStat, func() (err error) { info, err = f.base.Stat(name); return err }, name)
	return info, err
}

// SyncDir implements FS.
func (f *Faulty) SyncDir(name string) error {
	return f.do(OpSyncDir, func() error { return f.base.SyncDir(name) }, name)
}

// SyncAll implements FS.
func (f *Faulty) SyncAll(name string) error {
	return f.do(OpSyncAll, func() error { return f.base.SyncAll(name) }, name)
}

// Lock implements FS.
func (f *Faulty) Lock(name string) (io.Closer, error) {
	var lock io.Closer
	err := f.do(OpLock, func() (err error) { lock, err = f.base.Lock(name); return err }, name)
	if err != nil && lock != nil {
		lock.Close()
		lock = nil
	}
	return lock, err
}

// Usage implements FS.
func (f *Faulty) Usage(name string) (u Usage, err error) {
	err = f.do(OpUsage, func() (err error) { u, err = f.base.Usage(name); return err }, name)
	return u, err
}
