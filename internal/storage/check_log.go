package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/weirstream/weir/internal/batch"
)

// logCheck walks one partition's log from its first segment to its end.
type logCheck struct {
	*checker
	spec      TopicSpec
	partition int32
	st        *partitionState
	expect    int64 // offset that follows the last batch taken
	damaged   bool  // since that batch: a gap up to the next one is a loss
	os        bool  // written without frames: whole batches behind the recovery point count
	buf       []byte
}

// checkTopic walks all partitions of a topic that have data.
func (c *checker) checkTopic(ctx context.Context, spec TopicSpec, states map[partitionKey]*partitionState) error {
	var files map[int32][]segmentFile
	if !c.report.Clean {
		var err error
		if files, err = c.listFiles(spec.ID); err != nil {
			return err
		}
	}
	for n := range spec.Partitions {
		if err := ctx.Err(); err != nil {
			return err
		}
		key := partitionKey{spec.ID, n}
		st := states[key]
		if st == nil && len(c.frames[key]) == 0 && len(files[n]) == 0 {
			continue // never written to
		}
		if st == nil {
			st = &partitionState{topic: spec.ID, partition: n}
			if c.found == nil && len(files[n]) > 0 {
				st.start, st.next = files[n][0].base, files[n][0].base
			}
		}
		if int(n) < len(spec.Starts) && spec.Starts[n] > st.start {
			moved := *st
			moved.start, st = spec.Starts[n], &moved
		}
		l := &logCheck{checker: c, spec: spec, partition: n, st: st, expect: st.start}
		l.os = c.found == nil || c.found.durability == OS && !c.found.clean
		if err := l.run(ctx, files[n]); err != nil {
			return fmt.Errorf("check %s-%d: %w", spec.Name, n, err)
		}
	}
	return nil
}

func (l *logCheck) run(ctx context.Context, files []segmentFile) error {
	l.report.Partitions++
	if l.sink != nil {
		if err := l.sink.begin(l.spec, l.st); err != nil {
			return err
		}
	}
	for id := range l.st.producers {
		l.maxPID = max(l.maxPID, id)
	}
	segments := l.st.segments
	if len(segments) > 0 {
		l.expect = segments[0].base
	}
	for k, s := range segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := l.st.next
		sealed := k+1 < len(segments)
		if sealed {
			end = segments[k+1].base
		}
		if err := l.segment(s, end, sealed); err != nil {
			return err
		}
	}
	if err := l.tail(files); err != nil {
		return err
	}
	if l.sink != nil {
		return l.sink.end(l.expect)
	}
	return nil
}

func (l *logCheck) problem(file string, pos, offset int64, reason string) {
	l.checker.problem(Problem{File: file, Position: pos, Topic: l.spec.Name, Partition: l.partition, Offset: offset, Reason: reason, Next: nextSalvage})
	l.damaged = true
	if l.spec.ID == MetadataTopic {
		l.badMeta = true
	}
}

func (l *logCheck) fileName(f segmentFile) string {
	return filepath.Join(topicDir(l.cfg.Dir, l.spec.ID), f.name(l.partition)+".log")
}

// segment walks the bytes that were made durable.
func (l *logCheck) segment(s segmentState, end int64, sealed bool) error {
	l.report.Segments++
	name := l.fileName(segmentFile{s.base, s.generation})
	f, err := l.cfg.FS.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		l.problem(name, -1, s.base, "the file is missing")
		return l.gap(end)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	if err := l.txnIndex(s); err != nil {
		return err
	}
	short := size < s.size
	at := int64(0)
	for _, part := range l.index(s, min(size, s.size), end, sealed) {
		part.f, part.name, part.pos = f, name, at
		if err := l.stretch(part); err != nil {
			return err
		}
		at = part.to
	}
	if short {
		l.problem(name, size, l.expect, fmt.Sprintf("the file has %d bytes, %d were made durable", size, s.size))
	}
	if !sealed && !l.damaged && l.expect < end && s.size > 0 {
		l.problem(name, s.size, l.expect, fmt.Sprintf("the batches end at offset %d, the checkpoint says %d", l.expect, end))
	}
	return l.gap(end)
}

// gap ends a stretch whose end offset is known: what damage took is lost, and
// what compaction took is not there either.
func (l *logCheck) gap(end int64) error {
	if l.damaged && l.expect < end {
		if err := l.lose(end); err != nil {
			return err
		}
	}
	l.expect = max(l.expect, end)
	l.damaged = false
	return nil
}

func (l *logCheck) lose(to int64) error {
	from := max(l.expect, l.st.start)
	if from < to {
		l.report.Lost = append(l.report.Lost, Lost{l.spec.Name, l.partition, from, to})
	}
	if l.sink != nil {
		if err := l.sink.lost(l.expect, to); err != nil {
			return err
		}
	}
	l.expect, l.damaged = to, false
	return nil
}

// take hands a good batch on.
func (l *logCheck) take(s stretch, it item) error {
	if it.base > l.expect && l.damaged {
		if err := l.lose(it.base); err != nil {
			return err
		}
	}
	l.report.Batches++
	l.report.Bytes += it.n
	l.expect, l.damaged = it.next, false
	if l.sink == nil && l.spec.ID != MetadataTopic {
		return nil
	}
	b := make([]byte, it.n)
	if err := readFull(s.f, b, it.pos); err != nil {
		return err
	}
	return l.hand(b)
}

// hand gives a batch to the sink, and one of the metadata log to the catalog.
func (l *logCheck) hand(b batch.Batch) error {
	l.maxPID = max(l.maxPID, b.ProducerID())
	if l.spec.ID == MetadataTopic {
		if err := l.cfg.Catalog.Apply(b); err != nil {
			l.problem("the metadata log", -1, b.BaseOffset(), err.Error())
			l.damaged = false // the batch itself is whole
		}
	}
	if l.sink == nil {
		return nil
	}
	return l.sink.take(b)
}
