package storage

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// retrySpace is how long after a full disk the reserve is tried again.
const retrySpace = time.Second

// ballast is the reserve against a full disk: a file whose blocks are given
// back when the disk is full, so that checkpoints and the journal can go on.
// Until it stands again appends are refused.
type ballast struct {
	fs     vfs.FS
	name   string
	bytes  int64 // wanted; negative: none
	floor  int64 // free bytes below which appends are refused: one journal file
	log    *slog.Logger
	low    atomic.Bool // appends are refused
	retry  chan struct{}
	mu     sync.Mutex
	stands bool
}

func newBallast(cfg *Config) *ballast {
	return &ballast{
		fs: cfg.FS, name: filepath.Join(cfg.Dir, "ballast"), bytes: cfg.BallastBytes, floor: cfg.JournalFileBytes,
		log: cfg.Logger, retry: make(chan struct{}, 1),
	}
}

// met is told that the disk is full. It gives the reserve back and says whether
// there was one.
func (b *ballast) met() bool {
	b.mu.Lock()
	had := b.stands
	b.stands = false
	b.mu.Unlock()
	b.refuse()
	if had {
		if err := b.fs.Remove(b.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.log.Error("cannot free the reserve", "error", err)
		}
	}
	b.look()
	return had
}

// look has the free space looked at soon. It is called after each checkpoint,
// so that appends stop before the journal finds no room for its next file:
// that would stop the process.
func (b *ballast) look() {
	select {
	case b.retry <- struct{}{}:
	default:
	}
}

// adopt finds the file of an earlier life.
func (b *ballast) adopt() {
	if info, err := b.fs.Stat(b.name); err == nil && info.Size > 0 {
		b.mu.Lock()
		b.stands = true
		b.mu.Unlock()
	}
}

// keep makes the reserve, and makes it again after it was used, until ctx ends.
func (b *ballast) keep(ctx context.Context) {
	ok := b.stand()
	for {
		var timer *time.Timer
		var again <-chan time.Time
		if !ok {
			timer = time.NewTimer(retrySpace)
			again = timer.C
		}
		select {
		case <-ctx.Done():
		case <-b.retry:
			ok = false // the timer looks, not at once: it may have been full a moment ago
		case <-again:
			ok = b.stand()
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// stand makes the file if the disk has twice its size free: with less, the next
// append would only use it up again.
func (b *ballast) stand() bool {
	b.mu.Lock()
	stands := b.stands
	b.mu.Unlock()
	u, err := b.fs.Usage(filepath.Dir(b.name))
	if err != nil {
		b.log.Warn("cannot tell the free space", "error", err)
		return true
	}
	want := min(b.bytes, u.Total/10)
	if u.Free < min(b.floor, u.Total/10) {
		b.refuse()
		return false
	}
	if stands || want <= 0 {
		b.accept()
		return true
	}
	if u.Free < 2*want {
		b.refuse()
		return false
	}
	if err := b.build(want); err != nil {
		b.log.Warn("cannot make the reserve against a full disk", "error", err)
		b.low.Store(noSpace(err))
		return !noSpace(err)
	}
	b.mu.Lock()
	b.stands = true
	b.mu.Unlock()
	b.accept()
	return true
}

func (b *ballast) refuse() {
	if !b.low.Swap(true) {
		b.log.Error("the disk is full: appends are refused until there is space", "file", b.name)
	}
}

func (b *ballast) accept() {
	if b.low.Swap(false) {
		b.log.Info("there is space again: appends are accepted")
	}
}

func (b *ballast) build(n int64) error {
	if err := b.fs.Remove(b.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := b.fs.Create(b.name)
	if err != nil {
		return err
	}
	err = f.Preallocate(0, n)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = b.fs.Remove(b.name)
	}
	return err
}
