package broker

import (
	"iter"
	"time"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// resolve has the expressions that a shard found in its log matched with all topics, beside
// the shard, which serves its groups meanwhile. All shards together match one expression at
// a time: whoever talks to the broker after a start needs the processors, too. It gives up
// when the shard has been loaded again since, which began anew.
func (c *coordinator) resolve(s *shard, load int64, expressions []string) {
	for _, e := range expressions {
		select {
		case c.resolving <- struct{}{}:
		case <-c.ctx.Done():
			return
		}
		if s.loads.Load() != load {
			<-c.resolving
			return
		}
		image := c.cfg.topics.image()
		x := group.Match(e, c.untilClosed(cluster{image, c.cfg.settings}.TopicNames()))
		<-c.resolving
		if c.ctx.Err() != nil {
			return // not all names were matched
		}
		s.send(c.ctx, resolved(e, x, image))
	}
}

// resolved tells a shard what an expression stands for in an image.
func resolved(e string, x *group.Expression, image *meta.Image) task {
	return task{
		step: func(s *shard, now time.Time) func(storage.LSN) {
			x.Follow(cluster{s.image, s.coord.cfg.settings}, s.image.ChangedTopics(image))
			s.core.Resolve(now, e, x)
			return nil
		},
		fail: func(int16) {}, // when the shard is made anew, its expressions are resolved anew
	}
}

// untilClosed ends a list when the coordinator is closed, which does not wait for a second.
func (c *coordinator) untilClosed(names iter.Seq[string]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range names {
			if c.ctx.Err() != nil || !yield(name) {
				return
			}
		}
	}
}
