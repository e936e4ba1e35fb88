package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// hold is the part that one shard has in a commit of somebody else: it does what
// comes before, gives the records of that to the one who commits, and stands still
// until that has happened.
type hold struct {
	// before is what the core does first. Its records become a part of the commit.
	before func(core *group.Core, now time.Time)
	// after is what the core does when all is committed: what the commit itself says
	// in the shard's log. It makes no records.
	after   func(core *group.Core, now time.Time)
	parts   chan<- holdResult
	outcome <-chan heldOutcome
}

// holdResult is what a shard has to add to the commit.
type holdResult struct {
	appends []storage.Append // none or one
	code    int16            // the shard cannot say now
}

// heldOutcome is how the commit went.
type heldOutcome struct {
	lsn storage.LSN
	err error
}

func holdTask(h hold) task {
	return task{
		apart: func(s *shard) { s.stand(&h) },
		fail:  func(code int16) { h.parts <- holdResult{code: code} },
	}
}

// stand does a hold. The one who commits always sends an outcome, also when it
// gives up, so the wait ends.
func (s *shard) stand(h *hold) {
	if s.core == nil && h.before != nil {
		s.stood()
		h.parts <- holdResult{code: kerr.CoordinatorNotAvailable.Code}
		return
	}
	var r holdResult
	if h.before != nil {
		h.before(s.core, s.now())
		if out := s.core.Take(); len(out.Records) > 0 {
			r.appends = []storage.Append{s.log.part(out.Records, s.now())}
		}
	}
	s.stood()
	h.parts <- r
	end := <-h.outcome
	if end.err != nil {
		if len(r.appends) > 0 {
			s.loop.discard()
		}
		return
	}
	// Also without records: what was committed, that a topic is gone for instance, may
	// be the answer to the next request.
	s.lsn = max(s.lsn, end.lsn)
	if s.core == nil {
		return // what was committed is read with the log
	}
	if h.after != nil {
		h.after(s.core, s.now())
	}
	s.count()
}

var errNotCommitted = errors.New("what the shards of groups stood still for was not committed")

// together makes a commit in which shards have a part: each of them holds, commit is
// given the parts of all, must commit them and return. Meanwhile the shards stand
// still, so that nothing of theirs can come between.
func (c *coordinator) together(ctx context.Context, shards []*shard, part func(i int) hold,
	commit func(parts []storage.Append) (storage.LSN, error)) (storage.LSN, error) {
	var appends []storage.Append
	outcome := make(chan heldOutcome)
	out := heldOutcome{err: errNotCommitted} // should commit panic, nothing has happened
	held := 0
	defer func() {
		for range held {
			outcome <- out
		}
	}()
	// One after another, always in the order of their numbers: two commits at once
	// cannot wait for each other.
	for i, s := range shards {
		parts := make(chan holdResult, 1)
		h := part(i)
		h.parts, h.outcome = parts, outcome
		s.send(ctx, holdTask(h))
		r := <-parts
		if r.code != 0 {
			out.err = fmt.Errorf("groups of %s-%d: %w", meta.OffsetsTopic, s.number, kerr.ErrorForCode(r.code))
			return 0, out.err
		}
		held++
		appends = append(appends, r.appends...)
	}
	out.lsn, out.err = commit(appends)
	return out.lsn, out.err
}

// deleteTopic removes all offsets of a topic, in one frame with its deletion:
// commit is given the tombstones, must commit them with the record of the
// deletion, apply it to the image, and return. No commit of an offset can come
// between. No shard waits for the metadata store, so the caller may hold its lock.
func (c *coordinator) deleteTopic(ctx context.Context, topic string,
	commit func(tombstones []storage.Append) (storage.LSN, error)) (storage.LSN, error) {
	shards := c.all()
	drop := func(core *group.Core, now time.Time) { core.DropTopic(now, topic) }
	return c.together(ctx, shards, func(int) hold { return hold{before: drop} }, commit)
}

// offsetsEnd is the end of a transaction in a partition of __consumer_offsets.
type offsetsEnd struct {
	partition  int32
	producerID int64
	committed  bool
}

// endTxns makes the commit that ends transactions which have offsets in the groups of
// these partitions. commit appends the markers with the rest of the transactions, as
// one act. What the groups are asked once endTxns has returned they answer with these
// offsets, and the answer waits for the commit to be durable; when it failed nothing has
// happened.
// A partition may be named for several producers. The groups must have been loaded
// before, and no shard waits for who calls this.
func (c *coordinator) endTxns(ctx context.Context, ends []offsetsEnd, commit func() (storage.LSN, error)) (storage.LSN, error) {
	all := c.all()
	if len(all) == 0 || len(ends) == 0 {
		return commit()
	}
	ends = slices.Clone(ends)
	slices.SortStableFunc(ends, func(a, b offsetsEnd) int { return cmp.Compare(a.partition, b.partition) })
	var shards []*shard
	var parts [][]offsetsEnd
	for i, e := range ends {
		if e.partition < 0 || int(e.partition) >= len(all) {
			continue
		}
		if len(parts) == 0 || ends[i-1].partition != e.partition {
			shards, parts = append(shards, all[e.partition]), append(parts, nil)
		}
		k := len(parts) - 1
		parts[k] = append(parts[k], e)
	}
	return c.together(ctx, shards, func(i int) hold {
		return hold{after: func(core *group.Core, now time.Time) {
			for _, e := range parts[i] {
				core.EndTxn(now, e.producerID, e.committed)
			}
		}}
	}, func([]storage.Append) (storage.LSN, error) { return commit() })
}
