package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/broker"
)

const defaultAdmin = "localhost:9644"

func (a *app) backupCommand() *cobra.Command {
	var admin, data string
	cmd := &cobra.Command{
		Use:   "backup ARCHIVE",
		Short: "Copy all data of a broker into one file while it serves",
		Long: `Write an archive of everything that was acknowledged before the command began, as
it is at one moment: topics, records, the offsets that groups committed, producers.
The broker serves meanwhile; it needs --admin. Every batch is verified on the way.
With --data, the directory of a broker that does not run is archived instead.

ARCHIVE must not exist; - is standard output. It is a tar file whose last entry is
the checkpoint: one that was cut short is refused by weir restore.

Exit codes: 0 the archive is complete and on the disk; 1 it is not; 5 no broker
answered at the admin address; 74 the data is damaged.`,
		Example: `  weir backup monday.tar
  weir backup --admin localhost:9644 - | zstd > monday.tar.zst
  weir backup --data ./weir-data monday.tar`,
		Args: positional(1, 1, "the name of the archive"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if data != "" && cmd.Flags().Changed("admin") {
				return usagef("--data and --admin exclude each other: a broker that runs is asked at its admin address")
			}
			source := func(ctx context.Context, w io.Writer) error { return fetchBackup(ctx, admin, w) }
			if data != "" {
				source = func(ctx context.Context, w io.Writer) error { return a.backupOffline(ctx, data, w) }
			}
			return a.backup(cmd.Context(), args[0], source)
		},
	}
	cmd.Flags().StringVar(&admin, "admin", defaultAdmin, "the broker's admin address, as weir serve --admin has it")
	cmd.Flags().StringVar(&data, "data", "", "archive this data directory, on which no broker runs")
	must(cmd.MarkFlagDirname("data"))
	return cmd
}

// backup writes the archive under a name of its own first: what has the name that
// was asked for is complete.
func (a *app) backup(ctx context.Context, name string, source func(context.Context, io.Writer) error) error {
	if name == "-" {
		return source(ctx, a.Stdout)
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists: choose another name", name)
	}
	part := name + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = source(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	info, serr := f.Stat()
	err = errors.Join(err, serr, f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if err := os.Rename(part, name); err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(name)); err == nil {
		_ = dir.Sync() // a directory cannot be synced everywhere
		_ = dir.Close()
	}
	a.notef("%s: %d bytes", name, info.Size())
	return nil
}

// fetchBackup asks a broker that runs.
func fetchBackup(ctx context.Context, admin string, w io.Writer) error {
	if err := checkAddress("--admin", admin); err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+admin+"/backup", nil)
	if err != nil {
		return usagef("--admin %s: %w", admin, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) {
			return &exitError{ExitUnreachable, fmt.Errorf("no broker answers at %s: start it with weir serve --admin %s, or archive the directory of one that does not run with --data", admin, admin)}
		}
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("the broker at %s refuses: %s: %s", admin, response.Status, strings.TrimSpace(string(text)))
	}
	if _, err := io.Copy(w, response.Body); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &exitError{ExitFailed, fmt.Errorf("the backup broke off; the log of the broker at %s says why: %w", admin, err)}
	}
	return nil
}

// backupOffline opens the directory as a start would, and serves nobody.
func (a *app) backupOffline(ctx context.Context, dir string, w io.Writer) (err error) {
	if _, err := os.Stat(filepath.Join(dir, "format")); err != nil {
		return fmt.Errorf("%s holds no data of weir: %w", dir, err)
	}
	b, err := broker.Open(ctx, broker.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return explainOpen(dir, err)
	}
	defer func() { err = errors.Join(err, b.Shutdown(context.WithoutCancel(ctx))) }()
	if err := b.Backup(ctx, w); err != nil {
		return explainOpen(dir, err)
	}
	return nil
}

func (a *app) restoreCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restore ARCHIVE DIR",
		Short: "Make a data directory out of an archive",
		Long: `Make the data directory DIR out of an archive that weir backup wrote, and check
everything in it. DIR must not exist or be empty. ARCHIVE - is standard input.
Start the broker on it with weir serve --data DIR.

Exit codes: 0 DIR is complete, checked and on the disk; 1 it is not.`,
		Example: `  weir restore monday.tar ./weir-data
  zstd -dc monday.tar.zst | weir restore - ./weir-data`,
		Args: positional(2, 2, "an archive and a directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.restore(cmd.Context(), args[0], args[1])
		},
	}
}

func (a *app) restore(ctx context.Context, name, dir string) error {
	in := a.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	report, err := broker.Restore(ctx, nil, in, dir)
	switch {
	case err == nil:
		a.notef("%s: %d topics, %d good batches with %d bytes; start with weir serve --data %s", dir, report.Topics, report.Batches, report.Bytes, dir)
		return nil
	case errors.Is(err, broker.ErrArchive):
		err = fmt.Errorf("%w; remove %s before another try", err, dir)
	case errors.Is(err, fs.ErrExist):
		err = fmt.Errorf("directory %s is not empty: name one that does not exist", dir)
	case errors.Is(err, context.Canceled):
		return err
	}
	return &exitError{ExitFailed, err}
}
