package main

import (
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/term"
)

// stdoutSize is the terminal's size now; 0, 0 if it does not say.
func stdoutSize() (columns, rows int) {
	columns, rows, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0, 0
	}
	return columns, rows
}

// program is what a user types to run this program again: its name as it was
// typed, or, where "go run" has built it into a directory that goes away,
// "go run" once more.
func program(arg0 string) string {
	arg0 = filepath.ToSlash(arg0)
	if strings.Contains(arg0, "/go-build") && path.Base(path.Dir(arg0)) == "exe" {
		return "go run ./cmd/weir"
	}
	return arg0
}
