package weir

import (
	"errors"
	"fmt"
)

// ErrNoHandler is returned by Produce when its context is not one that a
// handler was called with.
var ErrNoHandler = errors.New("weir: the context is not a handler's")

// ErrHandlerReturned is returned by Produce when the handler it belongs to has
// already returned: its record may be finished and its offset committed.
var ErrHandlerReturned = errors.New("weir: the handler has returned")

// Permanent marks an error that no further attempt can mend. The record goes to
// the dead letters at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

func isPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

// decodeError says that a record's key or value is not of the topic's type.
type decodeError struct {
	part string // "key" or "value"
	err  error
}

func (e *decodeError) Error() string { return fmt.Sprintf("decode the %s: %v", e.part, e.err) }
func (e *decodeError) Unwrap() error { return e.err }

// panicError is a handler's panic as a failed attempt.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.value) }

// Unwrap lets a panic with an error be asked for it.
func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}
