package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The exit codes of every command.
const (
	ExitOK          = 0   // everything asked for was done
	ExitFailed      = 1   // at least one item failed, or serve could not start
	ExitUsage       = 2   // the command line, a setting or a configuration file is wrong
	ExitCondition   = 3   // a condition that was asked to hold does not
	ExitAuth        = 4   // not authenticated, or not allowed
	ExitUnreachable = 5   // no broker answered in time
	ExitStorage     = 74  // the broker's storage failed; a restart recovers what was durable
	ExitInterrupted = 130 // Ctrl-C
)

// exitError is an error that knows its exit code. A nil err means that
// everything has been said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usagef is an error in how the command was called.
func usagef(format string, args ...any) error {
	return &exitError{ExitUsage, fmt.Errorf(format, args...)}
}

// failed ends a command whose rows have told their errors.
func failed() error { return &exitError{code: ExitFailed} }

// exitCode chooses the code for the error a command returned.
func exitCode(err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.Is(err, errReaderGone):
		return ExitOK
	case isAuth(err):
		return ExitAuth
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case isUnreachable(err):
		return ExitUnreachable
	}
	return ExitFailed
}

// errReaderGone: the reader of standard output went away, which is how "| head"
// ends. It is an error of its own, because a connection to a broker breaks with
// EPIPE, too, and that is a failure.
var errReaderGone = errors.New("nobody reads the output any more")

// output is standard output. It alone makes errReaderGone.
type output struct{ w io.Writer }

func (o output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		err = errReaderGone
	}
	return n, err
}

func isAuth(err error) bool {
	for _, denied := range []error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed, kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism,
	} {
		if errors.Is(err, denied) {
			return true
		}
	}
	return false
}

func isUnreachable(err error) bool {
	var netErr net.Error
	var dial *net.OpError
	var dns *net.DNSError
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, kgo.ErrRecordTimeout) || errors.Is(err, kerr.RequestTimedOut) ||
		errors.As(err, &dial) || errors.As(err, &dns) || (errors.As(err, &netErr) && netErr.Timeout())
}
