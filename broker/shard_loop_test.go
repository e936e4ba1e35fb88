package broker

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/storage"
)

// idleKeeper is a keeper without a core of its own.
type idleKeeper struct{ flushed storage.LSN }

func (*idleKeeper) load() error                 { return nil }
func (*idleKeeper) alive() bool                 { return true }
func (*idleKeeper) deadline() (time.Time, bool) { return time.Time{}, false }
func (*idleKeeper) tick(time.Time)              {}
func (*idleKeeper) hear(time.Time)              {}
func (*idleKeeper) crowded() bool               { return false }
func (*idleKeeper) discard(int16)               {}
func (*idleKeeper) end(int16)                   {}
func (k *idleKeeper) flush() (storage.LSN, error) {
	k.flushed++
	return k.flushed, nil
}

// inLoop runs f with a loop of an idleKeeper, in virtual time. stop ends the loop.
func inLoop(t *testing.T, direct bool, f func(t *testing.T, l *loop[*idleKeeper], stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := newLoop(loopConfig{ctx: ctx, now: time.Now, logger: slog.New(slog.DiscardHandler), direct: direct}, &idleKeeper{})
		ended := make(chan struct{})
		go func() {
			l.run()
			close(ended)
		}()
		stop := func() {
			cancel()
			<-ended
		}
		defer stop()
		if err := l.awaitLoaded(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f(t, &l, stop)
	})
}

// noting is an errand that writes its name down when it is done, or the code it failed with.
func noting(name string, notes *[]string, during func()) errand[*idleKeeper] {
	return errand[*idleKeeper]{
		step: func(*idleKeeper, time.Time) func(storage.LSN) {
			if during != nil {
				during()
			}
			return func(storage.LSN) { *notes = append(*notes, name) }
		},
		fail: func(code int16) { *notes = append(*notes, kerr.ErrorForCode(code).Error()) },
	}
}

// TestIdleShardIsServedDirectly: the errand is done when send returns, if the loop is so.
func TestIdleShardIsServedDirectly(t *testing.T) {
	for _, direct := range []bool{true, false} {
		inLoop(t, direct, func(t *testing.T, l *loop[*idleKeeper], _ func()) {
			atOnce, done := false, false
			sent := false
			e := noting("a", &[]string{}, nil)
			step := e.step
			e.step = func(k *idleKeeper, now time.Time) func(storage.LSN) {
				f := step(k, now)
				atOnce = !sent
				return func(lsn storage.LSN) {
					f(lsn)
					done = true
				}
			}
			l.turn <- struct{}{} // the loop's goroutine cannot begin before send returns
			if direct {
				<-l.turn
			}
			l.send(t.Context(), e)
			sent = true
			if !direct {
				<-l.turn
			}
			synctest.Wait()
			if !done || atOnce != direct {
				t.Errorf("direct %v: done %v, while send ran %v", direct, done, atOnce)
			}
		})
	}
}

// TestBusyShardKeepsTheOrder: what comes while somebody has the turn waits, and is done in
// the order in which it was sent; then the shard is served directly again.
func TestBusyShardKeepsTheOrder(t *testing.T) {
	inLoop(t, true, func(t *testing.T, l *loop[*idleKeeper], _ func()) {
		var notes []string
		gate := make(chan struct{})
		go l.send(t.Context(), noting("first", &notes, func() { <-gate }))
		synctest.Wait()
		want := []string{"first"}
		for _, name := range []string{"b", "c", "d"} {
			l.send(t.Context(), noting(name, &notes, nil))
			synctest.Wait()
			want = append(want, name)
		}
		if len(notes) > 0 {
			t.Errorf("while the turn is held: %v", notes)
		}
		close(gate)
		synctest.Wait()
		l.send(t.Context(), noting("last", &notes, nil))
		if want = append(want, "last"); !slices.Equal(notes, want) {
			t.Errorf("done: %v, want %v", notes, want)
		}
	})
}

// TestPanicOfADirectErrand fails what it was about, and the shard goes on.
func TestPanicOfADirectErrand(t *testing.T) {
	inLoop(t, true, func(t *testing.T, l *loop[*idleKeeper], _ func()) {
		var notes []string
		l.send(t.Context(), noting("a", &notes, func() { panic("broken") }))
		l.send(t.Context(), noting("b", &notes, nil))
		if want := []string{kerr.CoordinatorNotAvailable.Error(), "b"}; !slices.Equal(notes, want) {
			t.Errorf("%q, want %q", notes, want)
		}
	})
}

// TestEndedLoopDoesNothing: the end waits for who has the turn, and what comes after it is
// refused.
func TestEndedLoopDoesNothing(t *testing.T) {
	inLoop(t, true, func(t *testing.T, l *loop[*idleKeeper], stop func()) {
		var notes []string
		gate := make(chan struct{})
		go l.send(t.Context(), noting("a", &notes, func() { <-gate }))
		synctest.Wait()
		l.send(t.Context(), noting("b", &notes, nil)) // is in the mailbox, or out of it
		ended := false
		go func() {
			stop()
			ended = true
		}()
		synctest.Wait()
		if ended {
			t.Error("the loop has ended while somebody had the turn")
		}
		close(gate)
		synctest.Wait()
		l.send(t.Context(), noting("c", &notes, nil))
		if !ended || len(notes) != 3 || notes[0] != "a" || notes[2] != kerr.NotCoordinator.Error() {
			t.Errorf("ended %v, %q", ended, notes)
		}
	})
}
