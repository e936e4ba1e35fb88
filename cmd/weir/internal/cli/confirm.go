package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// confirm asks a question on a terminal, where it is seen and answered. Elsewhere there is nobody to ask, so
// it refuses; --yes answers beforehand. An end of input is a no.
func (a *app) confirm(ctx context.Context, question string, yes bool) error {
	if yes {
		return nil
	}
	if !a.StdinTTY || !a.StderrTTY {
		return usagef("not done: there is no terminal to ask on; say --yes")
	}
	fmt.Fprintf(a.Stderr, "%s [y/N] ", question)
	type reply struct {
		text string
		err  error
	}
	// A read of a terminal cannot be interrupted; Ctrl-C must end the command all
	// the same, so the read is left behind in a goroutine.
	answered := make(chan reply, 1)
	go func() {
		text, err := bufio.NewReader(a.Stdin).ReadString('\n')
		answered <- reply{text, err}
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r := <-answered:
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return fmt.Errorf("read the answer: %w", r.err)
		}
		switch strings.ToLower(strings.TrimSpace(r.text)) {
		case "y", "yes":
			return nil
		}
		return errors.New("not done")
	}
}
