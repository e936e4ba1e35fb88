package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"syscall"

	"github.com/weirstream/weir/internal/vfs"
)

// openBroker is where the command line meets the broker.
func openBroker(context.Context, serveOptions, *slog.Logger) (embedded, error) {
	return nil, errors.New("not wired")
}

// explainOpen says what stopped the broker from starting and what to do.
func explainOpen(dir string, err error) error {
	code := ExitFailed
	switch {
	case errors.Is(err, vfs.ErrLocked):
		err = fmt.Errorf("data directory %s is in use by another weir: stop it, or choose another directory with --data", dir)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		err = fmt.Errorf("data directory %s cannot be written (%w): change its owner, or choose another directory with --data", dir, err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		err = fmt.Errorf("data directory %s is not a directory (%w): choose another with --data", dir, err)
	default:
		err = fmt.Errorf("open data directory %s: %w", dir, err)
	}
	return &exitError{code, err}
}
