//go:build unix

package sim

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// rotTopic holds the records that are looked for after a damage.
const (
	rotTopic      = "sim-rot"
	rotPartitions = 2
	rotRecords    = 12000 // in all; several segments and checkpoints
)

// Rot damages the files of a broker that is stopped, one place at a time, and
// looks what the next start makes of it. Killed says how it was stopped: then
// the last group of records may be cut, since nothing can tell it from a torn
// write.
type Rot struct {
	Run    *Run
	Killed bool

	snapshot *Snapshot
	epoch    int32 // leader epoch of all records
}

// End completes the report.
func (r *Rot) End() {
	r.Run.Report.Took = time.Since(r.Run.begun)
	r.Run.Report.Take(r.Run.Ledger)
}

// Prepare fills a broker and stops it.
func (r *Rot) Prepare(ctx context.Context) error {
	r.Run.begun = time.Now()
	p := r.Run.Process
	if _, err := p.Start(); err != nil {
		return err
	}
	defer func() {
		if p.Alive() {
			_ = p.Kill()
		}
	}()
	if err := r.fill(ctx, Target{Address: p.Address}); err != nil {
		return err
	}
	if r.Killed {
		if err := p.Kill(); err != nil {
			return err
		}
	} else if _, err := p.Terminate(); err != nil {
		return err
	}
	var err error
	r.snapshot, err = TakeSnapshot(p.Dir)
	return err
}

// fill writes the records; the last one alone, after all others are durable.
func (r *Rot) fill(ctx context.Context, t Target) error {
	cl, err := t.client(kgo.DefaultProduceTopic(rotTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(16<<10))
	if err != nil {
		return err
	}
	defer cl.Close()
	size := fmt.Sprint(1 << 20)
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, rotPartitions, -1, map[string]*string{"segment.bytes": &size}, rotTopic); err != nil {
		return err
	}
	var failed error
	for seq := range int64(rotRecords) {
		if seq == rotRecords-1 {
			if err := cl.Flush(ctx); err != nil {
				return err
			}
		}
		rec := &kgo.Record{Partition: int32(seq % rotPartitions), Value: value(Record{0, seq}, 700)}
		cl.Produce(ctx, rec, func(_ *kgo.Record, err error) { failed = errors.Join(failed, err) })
	}
	r.Run.Report.Acked += rotRecords
	if err := errors.Join(cl.Flush(ctx), failed); err != nil {
		return err
	}
	cl.AddConsumeTopics(rotTopic)
	first := cl.PollRecords(ctx, 1)
	if first.NumRecords() == 1 {
		r.epoch = first.Records()[0].LeaderEpoch
	}
	return first.Err()
}

// Places damages n places, each in the data as it was.
func (r *Rot) Places(ctx context.Context, n int) error {
	for range n {
		place := r.snapshot.Pick(r.Run.Random)
		if err := r.one(ctx, place); err != nil {
			return fmt.Errorf("%v: %w", place, err)
		}
	}
	return nil
}

// one damages one place and judges. It is counted by the class of the file and
// by what became of it.
func (r *Rot) one(ctx context.Context, place Place) error {
	p := r.Run.Process
	if err := r.snapshot.Restore(p.Dir); err != nil {
		return err
	}
	if err := r.snapshot.Damage(p.Dir, place); err != nil {
		return err
	}
	_, err := p.Start()
	if err != nil && !errors.Is(err, ErrEnded) {
		return err
	}
	if err == nil {
		outcome := r.read(ctx, place)
		if outcome == "harmless" && place.Class == segments && !r.Killed {
			r.Run.Log("%v: harmless", place)
		}
		r.Run.Report.Fault(string(place.Class) + " " + outcome)
		return p.Kill()
	}
	r.Run.Report.Fault(string(place.Class) + " refused")
	switch {
	case p.Code() != 74:
		r.Run.broken(Ended, "%v: code %d, want 74: %s", place, p.Code(), p.Said())
	case place.Class == indexes:
		r.Run.broken(NotHealed, "%v: %s", place, p.Said())
	case !regexp.MustCompile(regexp.QuoteMeta(filepath.Base(place.File)) + `|/journal`).MatchString(p.Said()):
		r.Run.broken(NotStarted, "%v: the refusal names another place: %s", place, p.Said())
	}
	if r.Run.Random.IntN(4) > 0 {
		return nil
	}
	return r.undo(ctx, place)
}

// undo: a refusal has changed nothing, so that with the damage taken back all
// is there.
func (r *Rot) undo(ctx context.Context, place Place) error {
	p := r.Run.Process
	if err := r.snapshot.Undo(p.Dir, place); err != nil {
		return err
	}
	if _, err := p.Start(); err != nil {
		r.Run.broken(NotStarted, "%v, refused, and repaired: %v", place, err)
		return nil
	}
	if outcome := r.read(ctx, place); outcome != "harmless" {
		r.Run.broken(SilentCut, "%v, refused, and repaired: %s", place, outcome)
	}
	r.Run.Report.Fault("repaired")
	return p.Kill()
}

// read reads everything and says what became of the damage: "harmless" if all
// is there, "found" if an error tells of it, "cut" if the last record is gone.
func (r *Rot) read(ctx context.Context, place Place) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cl, err := Target{Address: r.Run.Process.Address}.client(kgo.ConsumeTopics(rotTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepRetryableFetchErrors(), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.UnknownTopicRetries(3))
	if err != nil {
		r.Run.broken(Unreadable, "%v: %v", place, err)
		return "unread"
	}
	defer cl.Close()
	var next [rotPartitions]int64
	for ctx.Err() == nil {
		poll, done := context.WithTimeout(ctx, 300*time.Millisecond)
		fetches := cl.PollFetches(poll)
		done()
		if !r.compare(place, fetches, &next) {
			return "wrong"
		}
		if next == [rotPartitions]int64{rotRecords / rotPartitions, rotRecords / rotPartitions} {
			return "harmless"
		}
		if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			if place.Class == indexes {
				r.Run.broken(NotHealed, "%v: %v: %s", place, err, r.Run.Process.Said())
			}
			return "found"
		}
		if fetches.NumRecords() == 0 && damageTold.MatchString(r.Run.Process.Said()) {
			return "found"
		}
		if fetches.NumRecords() == 0 && r.ended(ctx, cl, next) {
			return r.cut(place, next)
		}
	}
	r.Run.broken(Unreadable, "%v: reading stands at %v, and nothing tells why: %s", place, next, r.Run.Process.Said())
	return "unread"
}

var damageTold = regexp.MustCompile(`corrupt data`)

// compare: what is served is what was written, in order.
func (r *Rot) compare(place Place, fetches kgo.Fetches, next *[rotPartitions]int64) bool {
	good := true
	fetches.EachRecord(func(rec *kgo.Record) {
		id, ok := identify(rec.Value)
		want := Record{0, next[rec.Partition]*rotPartitions + int64(rec.Partition)}
		if good && (!ok || id != want || rec.Offset != next[rec.Partition] || rec.LeaderEpoch != r.epoch) {
			good = false
			r.Run.broken(WrongBytes, "%v: partition %d offset %d, epoch %d: %v (%v), want offset %d, epoch %d, %v",
				place, rec.Partition, rec.Offset, rec.LeaderEpoch, id, ok, next[rec.Partition], r.epoch, want)
		}
		next[rec.Partition]++
	})
	return good
}

// ended says whether the broker means that there is nothing more.
func (r *Rot) ended(ctx context.Context, cl *kgo.Client, next [rotPartitions]int64) bool {
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, rotTopic)
	if err != nil || ends.Error() != nil {
		return false
	}
	all := true
	ends.Each(func(o kadm.ListedOffset) { all = all && o.Offset <= next[o.Partition] })
	return all
}

// cut judges logs that are shorter than they were.
func (r *Rot) cut(place Place, next [rotPartitions]int64) string {
	const each = rotRecords / rotPartitions
	if r.Killed && place.Class == journals && next == [rotPartitions]int64{each, each - 1} {
		return "last group cut"
	}
	r.Run.broken(SilentCut, "%v: the logs end at %v, and nothing was said", place, next)
	return "silently cut"
}
