package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/broker"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/vfs"
)

func (a *app) fsckCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "fsck DIR",
		Short: "Check a data directory, and salvage what is good",
		Long: `Check everything in the data directory DIR while no broker runs on it: format,
checkpoint, the journal's frames, every batch of every segment, and the indexes.
Nothing in DIR is changed. Each problem is one row: the file and byte, the topic,
partition and first offset it affects, and what to do about it.

With --salvage OUT all that is good is copied into the new data directory OUT, and
the rows "lost" tell which offsets could not be: from OFFSET up to, not with, TO.
Every record keeps its offset.

Exit codes: 0 no problem (with --salvage: nothing was lost); 1 DIR could not be
checked; 3 there are problems (with --salvage: something was lost); 130 interrupted.`,
		Example: `  weir fsck ./weir-data
  weir fsck ./weir-data -O json
  weir fsck ./weir-data --salvage ./weir-salvaged`,
		Args: positional(1, 1, "one data directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.fsck(cmd.Context(), args[0], out)
		},
	}
	cmd.Flags().StringVar(&out, "salvage", "", "copy what is good into this new data directory")
	must(cmd.MarkFlagDirname("salvage"))
	return a.outputFlag(cmd, "table")
}

func (a *app) fsck(ctx context.Context, dir, out string) error {
	if err := a.checkOutput(); err != nil {
		return err
	}
	if out != "" && within(out, dir) {
		return usagef("--salvage %s is in %s, where nothing is to be changed: name a directory elsewhere", out, dir)
	}
	var report *broker.CheckReport
	var err error
	if out == "" {
		report, err = broker.Check(ctx, nil, dir)
	} else {
		report, err = broker.Salvage(ctx, nil, dir, out)
	}
	if out != "" && errors.Is(err, context.Canceled) {
		a.notef("%s is not whole, and no broker opens it: run this again, or remove it", out)
	}
	if err != nil {
		return explainCheck(dir, out, err)
	}
	a.notef("%s: %d topics, %d partitions written to, %d segments, %d good batches with %d bytes, %d journal frames",
		dir, report.Topics, report.Partitions, report.Segments, report.Batches, report.Bytes, report.Frames)
	if err := a.print(findings(report)); err != nil && !errors.Is(err, errReaderGone) {
		return err
	}
	if len(report.Lost) > 0 || out == "" && len(report.Problems) > 0 {
		return &exitError{code: ExitCondition}
	}
	return nil
}

// within tells whether a path is that of a directory or of something in it.
func within(path, dir string) bool {
	path, perr := filepath.Abs(path)
	dir, derr := filepath.Abs(dir)
	rel, err := filepath.Rel(dir, path)
	return perr == nil && derr == nil && err == nil && filepath.IsLocal(rel)
}

// findings makes the rows: problems in the order in which they were found, then
// what is lost.
func findings(report *broker.CheckReport) *listing {
	l := newListing("FsckFindings", column{name: "finding"}, column{name: "topic"}, column{name: "partition"},
		column{name: "offset"}, column{name: "to", wide: true}, column{name: "file"}, column{name: "byte"},
		column{name: "reason"}, column{name: "next"})
	known := func(n int64) any {
		if n < 0 {
			return nil
		}
		return n
	}
	for _, p := range report.Problems {
		kind := "damage"
		if p.Harmless {
			kind = "harmless"
		}
		l.add(nil, kind, p.Topic, known(int64(p.Partition)), known(p.Offset), nil, p.File, known(p.Position), p.Reason, p.Next)
	}
	for _, lost := range report.Lost {
		l.add(nil, "lost", lost.Topic, int64(lost.Partition), lost.From, lost.To, nil, nil,
			fmt.Sprintf("offsets %d to %d cannot be read", lost.From, lost.To-1), nil)
	}
	return l
}

// explainCheck says why a directory could not be checked or copied.
func explainCheck(dir, out string, err error) error {
	var format *storage.FormatError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &format):
		err = fmt.Errorf("%w", format)
	case errors.Is(err, vfs.ErrLocked):
		err = fmt.Errorf("data directory %s is in use by a broker: stop it first", dir)
	case out != "" && errors.Is(err, fs.ErrExist):
		err = fmt.Errorf("directory %s is not empty: name one that does not exist", out)
	}
	return &exitError{ExitFailed, err}
}
