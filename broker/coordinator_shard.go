package broker

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// task is one request for a shard of groups.
type task = errand[*shard]

// waiter is a call that the core has parked.
type waiter struct {
	call *call
	fail func(code int16)
}

// shard owns the groups of one partition. All fields but loads and the loop's mailbox, news
// and loaded belong to the loop's goroutine.
type shard struct {
	loop[*shard]
	coord  *coordinator
	number int32
	log    shardLog
	loads  atomic.Int64 // how often the log was read

	core    *group.Core // nil while the shard could not be rebuilt
	image   *meta.Image // of which the core, or the one before it, was told last
	lsn     storage.LSN // of the newest record
	tokens  group.Token
	waiters map[group.Token]waiter
	counted int64 // groups that are counted in coord.groups
}

func newShard(c *coordinator, number int32, log shardLog) *shard {
	s := &shard{coord: c, number: number, log: log, waiters: map[group.Token]waiter{}}
	s.loop = newLoop(loopConfig{
		ctx: c.ctx, now: c.cfg.now, panicked: c.cfg.panicked, failed: c.cfg.failed,
		logger: c.cfg.logger.With("topic", meta.OffsetsTopic, "partition", number),
	}, s)
	return s
}

// load implements keeper.
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
	if err != nil {
		return err
	}
	if skipped > 0 {
		s.logger.Warn("records of unknown kinds were passed over", "records", skipped)
	}
	s.core, s.lsn, taken = core, lsn, true
	now := s.coord.cfg.now()
	s.learn(core, now)
	core.Ready(now)
	load := s.loads.Add(1)
	if expressions := core.Unresolved(); len(expressions) > 0 {
		s.coord.wait.Go(func() { s.coord.resolve(s, load, expressions) })
	}
	return nil
}

// alive implements keeper.
func (s *shard) alive() bool { return s.core != nil }

// deadline implements keeper.
func (s *shard) deadline() (time.Time, bool) { return s.core.Deadline() }

// tick implements keeper.
func (s *shard) tick(now time.Time) { s.core.Tick(now) }

// crowded implements keeper.
func (s *shard) crowded() bool { return s.core.Pending() >= s.coord.batch }

// flush implements keeper. It sends the answers of the core, too.
func (s *shard) flush() (storage.LSN, error) {
	out := s.core.Take()
	if len(out.Records) > 0 {
		lsn, err := s.log.append(s.ctx, out.Records, s.now())
		if err != nil {
			return 0, fmt.Errorf("%d records of groups: %w", len(out.Records), err)
		}
		s.lsn = lsn
	}
	s.answer(out.Replies)
	s.count()
	return s.lsn, nil
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

// discard implements keeper.
func (s *shard) discard(code int16) {
	s.end(code)
	if s.core != nil {
		s.coord.memory.Add(-s.core.Held())
	}
	s.core = nil
	s.coord.groups.Add(-s.counted)
	s.counted = 0
}

// end implements keeper.
func (s *shard) end(code int16) {
	for tok, w := range s.waiters {
		delete(s.waiters, tok)
		w.fail(code)
	}
}

// park makes a token for a call that the core answers, perhaps later.
func (s *shard) park(c *call, fail func(code int16)) group.Token {
	s.tokens++
	s.waiters[s.tokens] = waiter{c, fail}
	s.parked()
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
