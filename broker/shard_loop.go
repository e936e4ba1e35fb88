package broker

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/storage"
)

const (
	// mailboxSize is how many requests may wait for a shard. When it is full the
	// connection that has the next one waits, and with it only its own requests.
	mailboxSize = 128
	// maxSteps is how many requests share one append.
	maxSteps = 64
	// reloadDelay is how long a shard that could not be rebuilt waits before it
	// tries again.
	reloadDelay = time.Second
)

// errand is one request for a shard. step runs on who has the shard's turn. What it returns
// is called when the records of the step are appended; nil if there is nothing to do then.
// fail is called instead, at most once, when the step cannot be done or its records cannot
// be appended.
type errand[S any] struct {
	step func(s S, now time.Time) (done func(storage.LSN))
	fail func(code int16)
	// apart, if set, is what is done instead of a step, when all before it is appended. It
	// calls loop.stood once it has answered, and fail is not called from then on.
	apart func(s S)
}

// keeper is who a loop works for: it owns a core of pure logic. All its methods are called
// by who has the loop's turn, one at a time.
type keeper interface {
	// load makes the core out of the log, and puts out what that brings about.
	load() error
	// alive tells whether there is a core.
	alive() bool
	// deadline is when tick must be called; false: not at all.
	deadline() (time.Time, bool)
	tick(now time.Time)
	// hear takes in what loop.tell told of.
	hear(now time.Time)
	// crowded tells that what the steps have put out should be appended before more comes.
	crowded() bool
	// flush appends what the steps have put out, and returns the LSN of the newest state.
	flush() (storage.LSN, error)
	// discard throws the core away, and end what waits for it: nothing comes any more. Both
	// fail with a code those whom the core itself has yet to answer.
	discard(code int16)
	end(code int16)
}

// loopConfig is what a loop needs of its surroundings.
type loopConfig struct {
	ctx      context.Context // ends with the coordinator
	now      func() time.Time
	logger   *slog.Logger
	panicked func(p any, stack []byte) // optional
	failed   <-chan struct{}           // optional; closed when only what is durable shall be told
	direct   bool                      // send does an errand itself when the shard is idle; no errand stands apart
}

// loop is a shard's goroutine and what it is asked through. It takes what is waiting in
// its mailbox, has a step done for each, and appends what all put out at once. Each answer
// carries the LSN of the newest state, so that nobody hears of what a power cut could take
// back. When the append fails, the core knows more than the log: nobody may hear of it, all
// who wait are asked to try again, and the core is made anew.
//
// Whatever is done for the shard is done by who has its turn. That is the loop's goroutine;
// if direct also who asks, when nobody else has it and nothing waits: to hand an errand over
// and to be woken again takes longer than the errand.
type loop[S keeper] struct {
	loopConfig
	self    S
	mailbox chan errand[S]
	news    chan struct{} // has a token when there is something to hear
	loaded  chan struct{} // closed after the first load
	loadErr error         // of the first load
	turn    chan struct{} // holds a token while somebody has the turn
	mail    chan struct{} // has a token when there may be something in the mailbox

	// These belong to who has the turn.
	doing    []begun          // not yet answered
	standing func(code int16) // fails the errand apart that is being done; nil once it is answered
	timer    *time.Timer
	retryAt  time.Time // before which the core is not rebuilt
}

// begun is an errand whose records are not yet appended. Both fields are nil once the core
// has the call parked.
type begun struct {
	done func(storage.LSN)
	fail func(code int16)
}

func newLoop[S keeper](cfg loopConfig, self S) loop[S] {
	return loop[S]{
		loopConfig: cfg, self: self, mailbox: make(chan errand[S], mailboxSize),
		news: make(chan struct{}, 1), loaded: make(chan struct{}), turn: make(chan struct{}, 1), mail: make(chan struct{}, 1),
	}
}

// send has an errand done, or puts it into the mailbox. It waits for room. What one
// goroutine sends is done in that order.
func (l *loop[S]) send(ctx context.Context, e errand[S]) {
	if l.ctx.Err() != nil {
		e.fail(kerr.NotCoordinator.Code)
		return
	}
	if l.direct && l.doDirectly(e) {
		return
	}
	select {
	case l.mailbox <- e:
		l.poke()
		if l.ctx.Err() != nil {
			l.drain() // run may have looked for the last time before
		}
	case <-ctx.Done():
		e.fail(kerr.CoordinatorNotAvailable.Code)
	case <-l.ctx.Done():
		e.fail(kerr.NotCoordinator.Code)
	}
}

// doDirectly does an errand if the turn is free. It does not overtake what was sent before.
func (l *loop[S]) doDirectly(e errand[S]) bool {
	select {
	case l.turn <- struct{}{}:
	default:
		return false
	}
	if len(l.mailbox) > 0 { // only who has the turn takes from it
		<-l.turn
		return false
	}
	l.guard(func() { l.steps(e) })
	l.arm()
	<-l.turn
	return true
}

// inTurn does something on the loop's goroutine.
func (l *loop[S]) inTurn(f func()) {
	l.turn <- struct{}{}
	l.guard(f)
	l.arm()
	<-l.turn
}

func (l *loop[S]) poke() {
	select {
	case l.mail <- struct{}{}:
	default:
	}
}

// open does what is in the mailbox.
func (l *loop[S]) open() {
	select {
	case e := <-l.mailbox:
		defer func() { // after a panic, too
			if len(l.mailbox) > 0 {
				l.poke()
			}
		}()
		l.steps(e)
	default: // it was done by who had the turn before
	}
}

// tell has the shard hear of news before its next errand. It does not wait.
func (l *loop[S]) tell() {
	select {
	case l.news <- struct{}{}:
	default: // it has not heard since the last time
	}
}

// run is the shard's goroutine.
func (l *loop[S]) run() {
	l.timer = time.NewTimer(time.Hour)
	defer l.timer.Stop()
	l.inTurn(func() { l.loadErr = l.load() })
	close(l.loaded)
	failed := l.failed
	for {
		select {
		case <-l.ctx.Done():
			l.turn <- struct{}{} // and it stays: nobody does anything from now on
			l.self.end(kerr.NotCoordinator.Code)
			l.drain()
			return
		case <-failed:
			failed = nil
			l.inTurn(l.discard) // all is read anew from what is durable
		case <-l.timer.C:
			l.inTurn(l.due)
		case <-l.news:
			l.inTurn(l.hear)
		case <-l.mail:
			l.inTurn(l.open)
		}
	}
}

// awaitLoaded waits for the first load, which close ends, too.
func (l *loop[S]) awaitLoaded() error {
	<-l.loaded
	return l.loadErr
}

// guard keeps a broken invariant of one shard from ending the process.
func (l *loop[S]) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			l.logger.Error("a coordinator panicked", "panic", p, "stack", string(stack))
			if l.panicked != nil {
				l.panicked(p, stack)
			}
			l.discard()
		}
	}()
	f()
}

// drain fails what is in the mailbox when the loop ends; send fails what comes later.
func (l *loop[S]) drain() {
	for {
		select {
		case e := <-l.mailbox:
			e.fail(kerr.NotCoordinator.Code)
		default:
			return
		}
	}
}

func (l *loop[S]) load() error {
	err := l.self.load()
	l.retryAt = l.now().Add(reloadDelay) // should the core have to go again soon
	if err != nil {
		l.logger.Error("cannot read the coordinator's log", "error", err, "retry", reloadDelay)
		return err
	}
	l.flush()
	return nil
}

// arm sets the timer to what comes next, when a turn ends.
func (l *loop[S]) arm() {
	at, ok := l.retryAt, true
	if l.self.alive() {
		at, ok = l.self.deadline()
	}
	if ok {
		l.timer.Reset(max(0, at.Sub(l.now())))
	} else {
		l.timer.Stop()
	}
}

func (l *loop[S]) due() {
	if !l.self.alive() {
		_ = l.load() // logged; tried again later
		return
	}
	l.self.tick(l.now())
	l.flush()
}

func (l *loop[S]) hear() {
	if l.self.alive() {
		l.self.hear(l.now())
		l.flush()
	}
}

// steps does e and what else is waiting, and appends the records of all at once.
func (l *loop[S]) steps(e errand[S]) {
	select {
	case <-l.news:
		l.guard(l.hear) // should it panic, e is told that there is no core
	default:
	}
	for n := 1; ; n++ {
		if e.apart != nil {
			l.standing = e.fail
			l.flush()
			if l.standing != nil { // else it was failed when the core was thrown away
				e.apart(l.self)
			}
			return
		}
		l.step(e)
		if n == maxSteps || l.self.alive() && l.self.crowded() {
			break
		}
		select {
		case e = <-l.mailbox:
			continue
		default:
		}
		break
	}
	l.flush()
}

func (l *loop[S]) step(e errand[S]) {
	if !l.self.alive() {
		e.fail(kerr.CoordinatorNotAvailable.Code)
		return
	}
	l.doing = append(l.doing, begun{fail: e.fail})
	done := e.step(l.self, l.now())
	l.doing[len(l.doing)-1].done = done
}

// parked is called by a step whose call the core answers, perhaps later.
func (l *loop[S]) parked() { l.doing[len(l.doing)-1].fail = nil }

// stood is called by an errand apart when it has answered.
func (l *loop[S]) stood() { l.standing = nil }

// flush appends what the core has put out and sends the answers.
func (l *loop[S]) flush() {
	if !l.self.alive() {
		return
	}
	lsn, err := l.self.flush()
	if err != nil {
		if l.ctx.Err() == nil { // else the broker is stopping
			l.logger.Error("cannot append the coordinator's records", "error", err)
		}
		l.discard()
		return
	}
	for len(l.doing) > 0 {
		b := l.doing[0]
		l.doing = l.doing[1:]
		if b.done != nil {
			b.done(lsn)
		}
	}
	l.doing = nil
}

// discard fails all that waits and throws the core away. The timer has it rebuilt from the
// log, at once unless that was done a moment ago.
func (l *loop[S]) discard() {
	code := kerr.CoordinatorNotAvailable.Code // clients look for it again, and retry
	for _, b := range l.doing {
		if b.fail != nil {
			b.fail(code)
		}
	}
	l.doing = nil
	l.self.discard(code)
	if fail := l.standing; fail != nil {
		l.standing = nil
		fail(code) // who commits, perhaps with a token or other shards in hand, goes on
	}
}
