package broker

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// retention looks now and then for segments that their topics keep no longer
// (retention.ms, retention.bytes), and has storage forget idle producers. It owns one goroutine, from start to close.
type retention struct {
	metadata *metadata
	ctx      context.Context
	cancel   context.CancelFunc
	done     chan struct{}
}

// firstRetention is how long after the start the first look comes, as in Apache
// Kafka (log.initial.task.delay.ms).
const firstRetention = 30 * time.Second

func startRetention(m *metadata) *retention {
	r := &retention{metadata: m, done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	go r.run()
	return r
}

func (r *retention) run() {
	defer close(r.done)
	interval := r.metadata.settings.RetentionInterval
	timer := time.NewTimer(min(firstRetention, interval))
	defer timer.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-timer.C:
		}
		r.look()
		r.metadata.store.ForgetProducers(r.metadata.now())
		timer.Reset(interval)
	}
}

// close ends the goroutine and waits for it.
func (r *retention) close() {
	r.cancel()
	<-r.done
}

// startsPerRecord bounds the records that tell of moved log starts.
const startsPerRecord = 1000

// look goes over all topics once.
func (r *retention) look() {
	m := r.metadata
	for _, described := range m.image().Topics() {
		t := m.liveTopic(described)
		if t == nil || !t.config.Delete {
			continue
		}
		if err := r.lookAt(t); err != nil {
			if r.ctx.Err() != nil || errors.Is(err, storage.ErrStorage) {
				return
			}
			m.logger.Warn("cannot delete what a topic need not keep", "topic", t.Name, "error", err)
		}
	}
}

// lookAt goes over a topic. A partition that cannot be looked at, as its log is
// damaged, keeps no other waiting.
func (r *retention) lookAt(t *topic) error {
	m := r.metadata
	rules := storage.Retention{Millis: t.config.RetentionMillis, Bytes: t.config.RetentionBytes}
	var starts []meta.LogStart
	var first error
	for n, log := range t.partitions {
		start, ok, err := log.Expired(rules, m.now())
		if errors.Is(err, storage.ErrStorage) {
			return err
		}
		first = cmp.Or(first, err)
		if ok {
			starts = append(starts, meta.LogStart{Partition: int32(n), Offset: start})
		}
		if len(starts) == startsPerRecord || n+1 == len(t.partitions) && len(starts) > 0 {
			if err := m.moveStarts(r.ctx, t, starts); err != nil {
				return err
			}
			starts = nil
		}
	}
	return first
}

// moveStarts makes the new log starts of some partitions durable, then moves
// them. Whoever reads the metadata log before may see starts that storage has not
// moved yet; a crash in between is healed by the next start.
func (m *metadata) moveStarts(ctx context.Context, t *topic, starts []meta.LogStart) error {
	lsn, err := m.tellStarts(ctx, t, starts)
	if err != nil {
		return err
	}
	// Told is told: the caller's going away does not end this.
	if err := m.store.Wait(context.WithoutCancel(ctx), lsn, storage.Durable); err != nil {
		return err
	}
	var first error
	for _, s := range starts {
		dropped, err := t.partition(s.Partition).SetStart(s.Offset)
		if !errors.Is(err, storage.ErrDeleted) {
			first = cmp.Or(first, err)
		}
		t.metrics.deleted.Add(float64(dropped))
	}
	return first
}

// tellStarts commits the record of new log starts.
func (m *metadata) tellStarts(ctx context.Context, t *topic, starts []meta.LogStart) (storage.LSN, error) {
	if err := m.begin(ctx); err != nil {
		return 0, err
	}
	defer m.finish()
	if m.image().TopicByID(t.ID) == nil {
		return 0, errNoTopic
	}
	img, lsn, err := m.change(ctx, nil, meta.LogStartRecord{ID: t.ID, Starts: starts})
	if err != nil {
		return 0, err
	}
	m.current.Store(img)
	return lsn, nil
}
