package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/broker"
	"github.com/weirstream/weir/internal/vfs"
)

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
answered at the admin address; 74 the data of --data is damaged; 130 interrupted.
Unless the code is 0 no file ARCHIVE is left.`,
		Example: `  weir backup monday.tar
  weir backup --admin localhost:9644 - | zstd > monday.tar.zst
  weir backup --data ./weir-data monday.tar`,
		Args: positional(1, 1, "the name of the archive"),
		RunE: func(cmd *cobra.Command, args []string) error {
			offline := cmd.Flags().Changed("data")
			switch {
			case offline && cmd.Flags().Changed("admin"):
				return usagef("--data and --admin exclude each other: a broker that runs is asked at its admin address")
			case offline && data == "":
				return usagef("--data is empty: name a directory")
			case args[0] == "-" && a.StdoutTTY:
				return usagef("an archive is nothing for a terminal: name a file, or a command to take it")
			}
			if err := checkAddress("--admin", admin); err != nil {
				return err
			}
			source := func(ctx context.Context, w io.Writer) error { return fetchBackup(ctx, admin, w) }
			if offline {
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
		return archive(ctx, a.Stdout, source)
	}
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s exists: choose another name", name)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.part")
	if err != nil {
		return err
	}
	part := f.Name()
	err = archive(ctx, f, source)
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
	syncDirOf(name)
	a.notef("%s: %d bytes", name, info.Size())
	return nil
}

// syncDirOf keeps the name of a new file through a power cut, where that can be done.
func syncDirOf(name string) {
	if dir, err := os.Open(filepath.Dir(name)); err == nil {
		_ = dir.Sync() // a directory cannot be synced everywhere
		_ = dir.Close()
	}
}

// archive tells what ended a source: an interruption, the place where the archive
// goes, or the source itself.
func archive(ctx context.Context, w io.Writer, source func(context.Context, io.Writer) error) error {
	to := &destination{w: w}
	err := source(ctx, to)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case to.err != nil:
		return &exitError{ExitFailed, fmt.Errorf("the archive is not whole: %w", to.err)}
	}
	return err
}

// destination remembers why it could not be written to.
type destination struct {
	w   io.Writer
	err error
}

func (d *destination) Write(b []byte) (int, error) {
	n, err := d.w.Write(b)
	if err != nil {
		d.err = err
	}
	return n, err
}

// fetchBackup asks a broker that runs.
func fetchBackup(ctx context.Context, admin string, w io.Writer) error {
	response, err := askAdmin(ctx, admin, http.MethodPost, "/backup", ", or archive the directory of one that does not run with --data")
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		err := fmt.Errorf("the broker at %s refuses: %s: %s", admin, response.Status, strings.TrimSpace(string(text)))
		if response.StatusCode == http.StatusServiceUnavailable { // it stops, or its storage has failed
			err = fmt.Errorf("%w: once it has ended, archive its directory with --data", err)
		}
		return err
	}
	if _, err := io.Copy(w, response.Body); err != nil {
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
	if errors.Is(err, vfs.ErrLocked) {
		return &exitError{ExitFailed, fmt.Errorf("data directory %s is in use by a broker: ask it with --admin, or stop it first", dir)}
	}
	if err != nil {
		return firstError(ctx.Err(), explainOpen(dir, err)) // an interruption explains nothing
	}
	defer func() { err = errors.Join(err, b.Shutdown(context.WithoutCancel(ctx))) }()
	if err := b.Backup(ctx, w); err != nil {
		return firstError(ctx.Err(), explainOpen(dir, err))
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

Exit codes: 0 DIR is complete, checked and on the disk; 1 it is not; 130 interrupted.
Unless the code is 0 no broker opens DIR; another restore into it begins anew.`,
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
	in, release := interruptible(ctx, in)
	defer release()
	report, err := broker.Restore(ctx, nil, in, dir)
	switch {
	case err != nil && ctx.Err() != nil:
		a.notef("%s is not whole, and no broker opens it: run weir restore again, or remove it", dir)
		return ctx.Err()
	case err == nil:
		a.notef("%s: %d topics, %d good batches with %d bytes; start with weir serve --data %s", dir, report.Topics, report.Batches, report.Bytes, dir)
		return nil
	case errors.Is(err, broker.ErrArchive):
		err = fmt.Errorf("%w; %s is not whole: restore another archive into it, or remove it", err, dir)
	case errors.Is(err, fs.ErrExist):
		err = fmt.Errorf("directory %s is not empty: name one that does not exist", dir)
	}
	return &exitError{ExitFailed, err}
}

// interruptible is a reader whose reads end with the context. That of a pipe or
// a terminal cannot be interrupted, so it is left behind in a goroutine, which
// ends when it returns.
func interruptible(ctx context.Context, in io.Reader) (io.Reader, func()) {
	reader, writer := io.Pipe()
	go func() {
		_, err := io.Copy(writer, in)
		_ = writer.CloseWithError(err) // of a pipe in memory it never fails
	}()
	forget := context.AfterFunc(ctx, func() { _ = writer.CloseWithError(ctx.Err()) })
	return reader, func() {
		forget()
		_ = reader.Close()
	}
}
