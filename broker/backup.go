package broker

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/vfs"
)

// ErrArchive is what Restore refuses: no whole archive of a backup.
var ErrArchive = storage.ErrArchive

// Backup writes a consistent archive of everything that was acknowledged before
// it began, and perhaps of more, to w, while the broker serves: topics, records,
// committed offsets, producers, at one moment. Each batch is verified on the way.
// On an error the archive is not whole, and Restore refuses it.
func (b *Broker) Backup(ctx context.Context, w io.Writer) error {
	if err := b.store.Backup(ctx, w); err != nil {
		return fmt.Errorf("back up %s: %w", b.cfg.Dir, err)
	}
	return nil
}

// serveBackup streams an archive. After its first byte an error can only be told
// by breaking the connection off.
func (b *Broker) serveBackup(w http.ResponseWriter, r *http.Request) {
	if err := b.Err(); err != nil || b.isStopping() {
		b.health(w, cmp.Or(err, errStopping))
		return
	}
	w.Header().Set("Content-Type", "application/x-tar")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush() // else a short archive that breaks off would look like no answer
	b.logger.Info("backup begins", "host", r.RemoteAddr)
	if err := b.Backup(r.Context(), w); err != nil {
		b.logger.Error("backup failed", "host", r.RemoteAddr, "error", err)
		panic(http.ErrAbortHandler)
	}
	b.logger.Info("backup is complete", "host", r.RemoteAddr)
}

// Restore makes the data directory dir, which must not exist or be empty, out of
// an archive, and checks everything in it. What is not whole or damaged is
// refused, and leaves a directory that does not open, and that another Restore
// begins anew. A nil fsys is the operating
// system's.
func Restore(ctx context.Context, fsys vfs.FS, r io.Reader, dir string) (*CheckReport, error) {
	if fsys == nil {
		fsys = vfs.OS()
	}
	if err := storage.Restore(ctx, fsys, r, dir); err != nil {
		return nil, fmt.Errorf("restore %s: %w", dir, err)
	}
	cfg := checkConfig(fsys, dir)
	cfg.Restored = true
	report, err := storage.Check(ctx, cfg)
	if err == nil && len(report.Problems) > 0 {
		p := report.Problems[0]
		err = fmt.Errorf("%w: %d problems in it, the first in %s: %s", ErrArchive, len(report.Problems), p.File, p.Reason)
	}
	if err == nil {
		err = storage.Finish(fsys, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("restore %s: %w", dir, err)
	}
	return report, nil
}
