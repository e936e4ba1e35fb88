package sim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Cell is a thread in a mount namespace of its own. What it mounts no other
// process sees, so that nobody else's namespace keeps a file system alive whose
// power was cut, and everything is gone when the test process ends.
type Cell struct {
	calls chan func()
	done  chan struct{}
}

// NewCell starts the thread. It needs the right to mount.
func NewCell() (*Cell, error) {
	c := &Cell{calls: make(chan func()), done: make(chan struct{})}
	ready := make(chan error, 1)
	go func() {
		defer close(c.done)
		// Never unlocked: the thread ends with the goroutine, and nobody inherits
		// its namespace.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		ready <- err
		for call := range c.calls {
			call()
		}
	}()
	if err := <-ready; err != nil {
		c.Close()
		return nil, fmt.Errorf("make a private mount namespace: %w", err)
	}
	return c, nil
}

// Do runs f in the cell; processes that f starts live there.
func (c *Cell) Do(f func() error) error {
	err := make(chan error, 1)
	c.calls <- func() { err <- f() }
	return <-err
}

// Close ends the thread.
func (c *Cell) Close() {
	close(c.calls)
	<-c.done
}

// run runs a command in the cell.
func (c *Cell) run(name string, args ...string) error {
	return c.Do(func() error {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
		}
		return nil
	})
}

// Disk is a file system that can be taken away.
type Disk struct {
	cell  *Cell
	image string // file with an ext4 file system; empty on tmpfs
	Dir   string // where it is mounted
}

// NewExt4 makes an ext4 file system in a file in dir and mounts it in the cell.
func NewExt4(c *Cell, dir string, bytes int64) (*Disk, error) {
	d := &Disk{cell: c, image: filepath.Join(dir, "image"), Dir: filepath.Join(dir, "mount")}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(bytes), f.Close(), os.Mkdir(d.Dir, 0o755)); err != nil {
		return nil, err
	}
	if err := c.run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", d.image); err != nil {
		return nil, err
	}
	return d, d.mount()
}

// NewTmpfs mounts a file system in memory of this size.
func NewTmpfs(c *Cell, dir string, bytes int64) (*Disk, error) {
	d := &Disk{cell: c, Dir: filepath.Join(dir, "mount")}
	if err := os.Mkdir(d.Dir, 0o755); err != nil {
		return nil, err
	}
	return d, c.Do(func() error {
		return unix.Mount("tmpfs", d.Dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
	})
}

func (d *Disk) mount() error { return d.cell.run("mount", "-o", "loop", d.image, d.Dir) }

// Unmount takes the file system away in order; nobody may use it.
func (d *Disk) Unmount() error { return d.cell.run("umount", d.Dir) }

// ext4Shutdown is EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32); with noLogFlush
// the file system stops at once and writes nothing more, not even its own
// journal.
const (
	ext4Shutdown = 0x8004587d
	noLogFlush   = 2
)

// CutPower stops the file system: what was not synced will not be there after
// Return. Until then everything on it fails with EIO.
func (d *Disk) CutPower() error {
	return d.cell.Do(func() error {
		f, err := os.Open(d.Dir)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // nothing was written
		if err := unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, noLogFlush); err != nil {
			return fmt.Errorf("shut %s down: %w", d.Dir, err)
		}
		return nil
	})
}

// Return mounts the file system again; all processes on it have ended.
func (d *Disk) Return() error {
	if err := d.Unmount(); err != nil {
		return err
	}
	return d.mount()
}

// Fill takes all free space but keep bytes with one file; Free gives it back.
func (d *Disk) Fill(keep int64) error {
	n := d.free() - keep
	if n <= 0 {
		return nil
	}
	return d.cell.Do(func() error {
		f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		size, err := f.Seek(0, 2)
		if err == nil {
			err = unix.Fallocate(int(f.Fd()), 0, size, n)
		}
		if errors.Is(err, unix.ENOSPC) {
			err = nil // the broker was quicker
		}
		return errors.Join(err, f.Close())
	})
}

// free is the number of bytes that can still be written; -1 if that is not known.
func (d *Disk) free() int64 {
	n := int64(-1)
	_ = d.cell.Do(func() error {
		var st unix.Statfs_t
		if err := unix.Statfs(d.Dir, &st); err != nil {
			return err
		}
		n = int64(st.Bavail) * st.Bsize
		return nil
	})
	return n
}

// Free removes the filler.
func (d *Disk) Free() error { return d.cell.Do(func() error { return os.Remove(d.filler()) }) }

func (d *Disk) filler() string { return filepath.Join(d.Dir, "filler") }
