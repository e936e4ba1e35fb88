package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/storage"
)

// hold is the part of a topic's deletion that one shard does: it gives its
// tombstones to the one who commits, and stands still until that has happened.
type hold struct {
	topic   string
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

func holdTask(topic string, parts chan<- holdResult, outcome <-chan heldOutcome) task {
	return task{
		hold: &hold{topic, parts, outcome},
		fail: func(code int16) { parts <- holdResult{code: code} },
	}
}

// stand does a hold. The one who commits always sends an outcome, also when it
// gives up, so the wait ends.
func (s *shard) stand(t task) {
	if s.core == nil {
		if s.standing != nil { // else it was failed when the core was thrown away
			s.standing = nil
			t.fail(kerr.CoordinatorNotAvailable.Code)
		}
		return
	}
	s.core.DropTopic(s.coord.cfg.now(), t.hold.topic)
	out := s.core.Take()
	var r holdResult
	if len(out.Records) > 0 {
		r.appends = []storage.Append{s.log.part(out.Records, s.coord.cfg.now())}
	}
	s.standing = nil
	t.hold.parts <- r
	end := <-t.hold.outcome
	switch {
	case end.err == nil:
		// Also without tombstones: that the topic is gone may be the answer to the
		// next commit.
		s.lsn = max(s.lsn, end.lsn)
		s.count()
	case len(out.Records) > 0:
		s.discard()
	}
}
