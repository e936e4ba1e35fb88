package main

import (
	"os"
	"path/filepath"
	"regexp"

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

// goRun is where "go run" puts a program: a directory for its work, or its cache.
var goRun = regexp.MustCompile(`/go-build[0-9]*/`)

// program is what a user types to run this program again: its name as it was
// typed, or, where "go run" has built it into a directory that goes away,
// "go run" once more.
func program(arg0 string) string {
	if goRun.MatchString(filepath.ToSlash(arg0)) {
		return "go run ./cmd/weir"
	}
	return arg0
}
