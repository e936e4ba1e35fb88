package weir

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitTimeout bounds one commit; work that was not committed is committed with
// the next.
const commitTimeout = 10 * time.Second

// commitRequest asks the committer to commit some partitions at once.
type commitRequest struct {
	parts []*partition
	done  chan struct{}
}

// commitLoop is the committer. It alone commits, one commit after another, so
// that a position never goes back.
func (a *App) commitLoop(stop <-chan struct{}) {
	tick := time.NewTicker(a.cfg.CommitInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.commit(a.assigned())
		case r := <-a.commits:
			a.commit(r.parts)
			close(r.done)
		case <-stop:
			return
		}
	}
}

// commitNow has the committer commit partitions and waits for it.
func (a *App) commitNow(parts []*partition) {
	r := commitRequest{parts, make(chan struct{})}
	select {
	case a.commits <- r:
		<-r.done
	case <-a.committerDone:
	}
}

// commit commits the positions that moved. A failed commit is no reason to
// stop: the positions stand and go into the next one.
func (a *App) commit(parts []*partition) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	moved := map[topicPartition]*partition{}
	for _, p := range parts {
		at, dirty := p.progress()
		if !dirty {
			continue
		}
		if offsets[p.topic] == nil {
			offsets[p.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[p.topic][p.id] = at
		moved[topicPartition{p.topic, p.id}] = p
	}
	if len(moved) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	a.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err == nil {
			err = accepted(resp, offsets, moved)
		}
		if err != nil {
			a.cfg.Logger.Warn("commit failed; the next one repeats it", "group", a.cfg.Group, "err", err)
			if isFatal(err) {
				a.fail(fmt.Errorf("weir: commit offsets of group %s: %w", a.cfg.Group, err))
			}
		}
	})
}

// accepted marks what was committed and returns the errors of the rest.
func accepted(resp *kmsg.OffsetCommitResponse, offsets map[string]map[int32]kgo.EpochOffset, moved map[topicPartition]*partition) error {
	var errs []error
	for _, t := range resp.Topics {
		for _, rp := range t.Partitions {
			p := moved[topicPartition{t.Topic, rp.Partition}]
			if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
				errs = append(errs, fmt.Errorf("%s-%d: %w", t.Topic, rp.Partition, err))
			} else if p != nil {
				p.committed(offsets[t.Topic][rp.Partition].Offset)
			}
		}
	}
	return errors.Join(errs...)
}
