package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// checkForeign refuses a directory that holds something and is not a broker's:
// its files would be mixed with the broker's, and be in danger from then on. What
// else is wrong with the directory is told when it is opened.
func checkForeign(dir string) error {
	// Any of these is the broker's: what is missing beside it is told by the broker.
	for _, own := range []string{"format", "checkpoint", "unfinished"} {
		if _, err := os.Lstat(filepath.Join(dir, own)); err == nil || !errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // only read
	const most = 64                  // enough to name two
	names, err := f.Readdirnames(most)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	names = slices.DeleteFunc(names, ownBeginning)
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	if len(names) > 2 {
		names = append(names[:2], "...")
	}
	return &exitError{ExitFailed, fmt.Errorf("data directory %s is not empty and not weir's (it holds %s): choose an empty directory with --data",
		dir, strings.Join(names, ", "))}
}

// ownBeginning is what may be in a new directory: what a file system puts there,
// and what a first start that was killed left.
func ownBeginning(name string) bool {
	return name == "lost+found" || name == "lock" || name == "format.tmp"
}
