//go:build !unix

package main

import "context"

// readerGone cannot be told here before a write fails.
func readerGone(context.Context) bool { return false }
