package broker

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
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

// task is one request for a shard. step runs on the shard's goroutine. What it
// returns is called when the records of the step are appended; nil if there is
// nothing to do then, because the answer comes from the core later. fail is
// called instead, at most once, when the step cannot be done or its records
// cannot be appended.
type task struct {
	step func(s *shard, now time.Time) (done func(storage.LSN))
	fail func(code int16)
	hold *hold
}

// waiter is a call that the core has parked.
type waiter struct {
	call *call
	fail func(code int16)
}

// shard owns the groups of one partition. All fields but mailbox, news, loaded
// and loadErr belong to run's goroutine.
type shard struct {
	coord   *coordinator
	number  int32
	log     shardLog
	logger  *slog.Logger
	mailbox chan task
	news    chan struct{} // has a token when topics or settings changed
	loaded  chan struct{} // closed after the first load
	loadErr error         // of the first load

	core     *group.Core // nil while the shard could not be rebuilt
	image    *meta.Image // of which the core, or the one before it, was told last
	lsn      storage.LSN // of the newest record
	tokens   group.Token
	waiters  map[group.Token]waiter
	counted  int64            // groups that are counted in coord.groups
	doing    []stepped        // not yet answered
	timer    *time.Timer      // the core's deadline, or the next try to rebuild
	retryAt  time.Time        // before which the core is not rebuilt
	standing func(code int16) // fails the hold that is being done; nil when its parts are given
}

func newShard(c *coordinator, number int32, log shardLog) *shard {
	return &shard{
		coord: c, number: number, log: log,
		logger:  c.cfg.logger.With("topic", meta.OffsetsTopic, "partition", number),
		mailbox: make(chan task, mailboxSize),
		news:    make(chan struct{}, 1),
		loaded:  make(chan struct{}),
		waiters: map[group.Token]waiter{},
	}
}

// send puts a task into the mailbox. It waits for room.
func (s *shard) send(ctx context.Context, t task) {
	if s.coord.ctx.Err() != nil {
		t.fail(kerr.NotCoordinator.Code)
		return
	}
	select {
	case s.mailbox <- t:
		if s.coord.ctx.Err() != nil {
			s.drain() // run may have looked for the last time before
		}
	case <-ctx.Done():
		t.fail(kerr.CoordinatorNotAvailable.Code)
	case <-s.coord.ctx.Done():
		t.fail(kerr.NotCoordinator.Code)
	}
}

// run is the shard's goroutine.
func (s *shard) run() {
	s.timer = time.NewTimer(time.Hour)
	defer s.timer.Stop()
	s.guard(func() { s.loadErr = s.load() })
	close(s.loaded)
	failed := s.coord.cfg.failed
	for {
		s.arm()
		select {
		case <-s.coord.ctx.Done():
			s.end()
			return
		case <-failed:
			failed = nil
			s.guard(s.discard) // the groups are read anew from what is durable
		case <-s.timer.C:
			s.guard(s.due)
		case <-s.news:
			s.guard(s.hear)
		case t := <-s.mailbox:
			s.guard(func() { s.steps(t) })
		}
	}
}

// guard keeps a broken invariant of one shard from ending the process: those who
// wait are asked to try again, and the groups are read anew from the log.
func (s *shard) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			s.logger.Error("the group coordinator panicked", "panic", p, "stack", string(stack))
			if s.coord.cfg.panicked != nil {
				s.coord.cfg.panicked(p, stack)
			}
			s.discard()
		}
	}()
	f()
}

// end fails all that waits; send fails what comes later.
func (s *shard) end() {
	s.failAll(kerr.NotCoordinator.Code)
	s.drain()
}

func (s *shard) drain() {
	for {
		select {
		case t := <-s.mailbox:
			t.fail(kerr.NotCoordinator.Code)
		default:
			return
		}
	}
}

func (s *shard) failAll(code int16) {
	for tok, w := range s.waiters {
		delete(s.waiters, tok)
		w.fail(code)
	}
}

// load builds the core from the log.
func (s *shard) load() error {
	core := group.New(s.coord.core)
	taken := false
	defer func() {
		if !taken {
			s.coord.memory.Add(-core.Held())
		}
	}()
	skipped := 0
	lsn, err := s.log.replay(s.coord.ctx, replay{
		record: func(r group.Record) error {
			err := core.Replay(r)
			if unknown := (*group.UnknownKeyError)(nil); errors.As(err, &unknown) {
				skipped++
				return nil
			}
			return err
		},
		end: core.ReplayEnd,
	})
	s.retryAt = s.coord.cfg.now().Add(reloadDelay) // should the core have to go again soon
	if err != nil {
		s.logger.Error("cannot read the consumer groups", "error", err, "retry", reloadDelay)
		return err
	}
	if skipped > 0 {
		s.logger.Warn("records of unknown kinds were passed over", "records", skipped)
	}
	s.core, s.lsn, taken = core, lsn, true
	now := s.coord.cfg.now()
	s.learn(core, now)
	core.Ready(now)
	s.flush()
	return nil
}

// arm sets the timer to what comes next.
func (s *shard) arm() {
	if s.core == nil {
		s.timer.Reset(max(0, s.retryAt.Sub(s.coord.cfg.now())))
		return
	}
	if at, ok := s.core.Deadline(); ok {
		s.timer.Reset(max(0, at.Sub(s.coord.cfg.now())))
	} else {
		s.timer.Stop()
	}
}

func (s *shard) due() {
	if s.core == nil {
		_ = s.load() // logged; tried again later
		return
	}
	s.core.Tick(s.coord.cfg.now())
	s.flush()
}

// steps does t and what else is waiting, and appends the records of all at once.
func (s *shard) steps(t task) {
	select {
	case <-s.news:
		s.guard(s.hear) // should it panic, t is told that there is no core
	default:
	}
	for n := 1; ; n++ {
		if t.hold != nil {
			s.standing = t.fail
			s.flush()
			s.stand(t)
			return
		}
		s.step(t)
		if n == maxSteps || s.core != nil && s.core.Pending() >= s.coord.batch {
			break
		}
		select {
		case t = <-s.mailbox:
			continue
		default:
		}
		break
	}
	s.flush()
}

func (s *shard) step(t task) {
	if s.core == nil {
		t.fail(kerr.CoordinatorNotAvailable.Code)
		return
	}
	s.doing = append(s.doing, stepped{fail: t.fail})
	done := t.step(s, s.coord.cfg.now())
	s.doing[len(s.doing)-1].done = done
}

// stepped is a task whose records are not yet appended. Both fields are nil once
// the core has the call parked: then the token stands for it.
type stepped struct {
	done func(storage.LSN)
	fail func(code int16)
}

// flush appends what the core has put out and sends the answers. When the append
// fails, the core knows more than the log: nobody may hear of it, all who wait
// are asked to try again, and the core is made anew.
func (s *shard) flush() {
	if s.core == nil {
		return
	}
	out := s.core.Take()
	if len(out.Records) > 0 {
		lsn, err := s.log.append(s.coord.ctx, out.Records, s.coord.cfg.now())
		if err != nil {
			if s.coord.ctx.Err() == nil { // else the broker is stopping
				s.logger.Error("cannot append group records", "records", len(out.Records), "error", err)
			}
			s.discard()
			return
		}
		s.lsn = lsn
	}
	s.answer(out.Replies)
	for len(s.doing) > 0 {
		t := s.doing[0]
		s.doing = s.doing[1:]
		if t.done != nil {
			t.done(s.lsn)
		}
	}
	s.doing = nil
	s.count()
}

func (s *shard) answer(replies []group.Reply) {
	for _, r := range replies {
		w := s.waiters[r.Token]
		delete(s.waiters, r.Token)
		if join, ok := r.Response.(*kmsg.JoinGroupResponse); ok {
			if err := w.call.tryReserve(joinBytes(join)); err != nil {
				w.call.refuse(err)
				continue
			}
		}
		w.call.reply(r.Response, s.lsn)
	}
}

// count brings the broker's number of groups up to date.
func (s *shard) count() {
	n := int64(s.core.Len())
	s.coord.groups.Add(n - s.counted)
	s.counted = n
}

// discard fails all that waits and throws the core away. The timer has it rebuilt
// from the log, at once unless that was done a moment ago.
func (s *shard) discard() {
	code := kerr.CoordinatorNotAvailable.Code // clients look for it again, and retry
	for _, t := range s.doing {
		if t.fail != nil {
			t.fail(code)
		}
	}
	s.doing = nil
	s.failAll(code)
	if fail := s.standing; fail != nil {
		s.standing = nil
		fail(code) // the deleter, who holds the metadata store's token, goes on
	}
	if s.core != nil {
		s.coord.memory.Add(-s.core.Held())
	}
	s.core = nil
	s.coord.groups.Add(-s.counted)
	s.counted = 0
}

// park makes a token for a call that the core answers, perhaps later.
func (s *shard) park(c *call, fail func(code int16)) group.Token {
	s.tokens++
	s.waiters[s.tokens] = waiter{c, fail}
	s.doing[len(s.doing)-1].fail = nil
	return s.tokens
}

// admit tells the core whether it may make a new group.
func (s *shard) admit() {
	s.core.SetFull(s.coord.groups.Load() >= int64(s.coord.cfg.settings.MaxGroups))
}

// respond is a task with one answer that is known when its step is done.
func respond(c *call, step func(s *shard, now time.Time) kmsg.Response, failed func(code int16) kmsg.Response) task {
	return task{
		step: func(s *shard, now time.Time) func(storage.LSN) {
			resp := step(s, now)
			return func(lsn storage.LSN) { c.reply(resp, lsn) }
		},
		fail: func(code int16) { c.reply(failed(code), 0) },
	}
}

// parkable is a task that the core answers by token.
func parkable(c *call, step func(s *shard, now time.Time, tok group.Token), failed func(code int16) kmsg.Response) task {
	fail := func(code int16) { c.reply(failed(code), 0) }
	return task{
		step: func(s *shard, now time.Time) func(storage.LSN) {
			step(s, now, s.park(c, fail))
			return nil
		},
		fail: fail,
	}
}
