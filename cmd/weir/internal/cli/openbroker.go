package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"

	"github.com/weirstream/weir/broker"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/vfs"
)

// openBroker is where the command line meets the broker.
func openBroker(ctx context.Context, o serveOptions, logger *slog.Logger) (embedded, error) {
	b, err := broker.Open(ctx, broker.Config{
		Dir: o.Data, Durability: o.Durability, Settings: o.Settings, Logger: logger, Version: version(),
		ReadOnlyOnFailure: o.OnFailure == "readonly",
	})
	if err != nil {
		return nil, err // not a nil *Broker in the interface
	}
	return b, nil
}

// explainOpen says what stopped the broker from starting and what to do.
func explainOpen(dir string, err error) error {
	code := ExitFailed
	var format *storage.FormatError
	var corrupt *storage.CorruptError
	switch {
	case errors.Is(err, context.Canceled): // asked to stop while it started
		return nil
	case errors.As(err, &format):
		err = fmt.Errorf("%w, or choose another directory with --data", format)
	case errors.As(err, &corrupt):
		code = ExitStorage
		err = fmt.Errorf("data directory %s is damaged: %w; nothing was changed: see what is damaged with weir fsck %s, then restore a backup, or copy what is good with weir fsck --salvage", dir, corrupt, dir)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, storage.ErrNoSpace):
		code = ExitStorage
		err = fmt.Errorf("data directory %s: the disk is full, so there is no room for even a journal: free some space, or choose another directory with --data", dir)
	case errors.Is(err, storage.ErrStorage), errors.Is(err, syscall.EIO):
		code, err = ExitStorage, fmt.Errorf("open data directory %s: %w", dir, err)
	case errors.Is(err, vfs.ErrLocked):
		err = fmt.Errorf("data directory %s is in use by another weir: stop it, or choose another directory with --data", dir)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		err = fmt.Errorf("data directory %s is not a directory: choose another with --data", dir)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		err = fmt.Errorf("data directory %s cannot be written (%w): change its owner, or choose another directory with --data", dir, err)
	case !strings.Contains(err.Error(), dir):
		err = fmt.Errorf("open data directory %s: %w", dir, err)
	}
	return &exitError{code, err}
}
