package main

import "testing"

func TestProgram(t *testing.T) {
	for arg0, want := range map[string]string{
		"weir":                                   "weir",
		"./weir":                                 "./weir",
		"/usr/local/bin/weir":                    "/usr/local/bin/weir",
		"/tmp/go-build3514170384/b001/exe/weir":  "go run ./cmd/weir",
		"/home/u/.cache/go-build/0f/0f9c-d/weir": "go run ./cmd/weir",
		"/tmp/go-builders/weir":                  "/tmp/go-builders/weir",
	} {
		if got := program(arg0); got != want {
			t.Errorf("program(%q) = %q, want %q", arg0, got, want)
		}
	}
}
