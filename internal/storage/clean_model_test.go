package storage

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/weirstream/weir/internal/batch"
)

// What must be true of a compacted log, of its first part after a crash and of all
// of it else: offsets ascend; every record is the one that was appended at its
// offset; the newest record of each key that was not aborted is there, unless it is
// a tombstone that was old enough, and then no older record of its key is.
// A record of a transaction that is open is there. One of an aborted transaction
// is not there below the point that was cleaned; above it, readers are told of it.
// A marker is there while anything of its transaction is, and until it is old enough.

// cleanTxn is a transaction of the model.
type cleanTxn struct {
	AbortedTxn // LastOffset is stillOpen until it ends
	commit     bool
	ended      int64 // ms
}

// cleanLog is what was appended to one partition.
type cleanLog struct {
	records []batch.Record // by offset; a marker has no key
	txns    []cleanTxn
	of      map[int64]int // offset of a record to its transaction
	open    map[int64]int // producer to its transaction
	seqs    map[int64]int32
	bare    map[int64]int64 // marker to when a cleaning first left nothing else of its transaction, ms
}

func newCleanLog() cleanLog {
	return cleanLog{of: map[int64]int{}, open: map[int64]int{}, seqs: map[int64]int32{}, bare: map[int64]int64{}}
}

func (l *cleanLog) append(opt batch.BuildOptions, rs []batch.Record) {
	for _, rec := range rs {
		rec.Offset = int64(len(l.records))
		if opt.Transactional {
			i, open := l.open[opt.Producer.ID]
			if !open {
				i = len(l.txns)
				l.txns = append(l.txns, cleanTxn{AbortedTxn: AbortedTxn{ProducerID: opt.Producer.ID, FirstOffset: rec.Offset, LastOffset: stillOpen}})
				l.open[opt.Producer.ID] = i
			}
			l.of[rec.Offset] = i
		}
		l.records = append(l.records, rec)
	}
}

func (l *cleanLog) end(pid int64, commit bool, now int64) {
	t := &l.txns[l.open[pid]]
	delete(l.open, pid)
	t.LastOffset, t.commit, t.ended = int64(len(l.records)), commit, now
	l.records = append(l.records, batch.Record{Offset: t.LastOffset})
	t.LastStable = l.stable(int64(len(l.records)))
}

// stable is the last stable offset of the log's part below end.
func (l *cleanLog) stable(end int64) int64 {
	for _, t := range l.txns {
		if t.FirstOffset < end && t.LastOffset >= end {
			end = t.FirstOffset // they stand in the order of their first offsets
			break
		}
	}
	return end
}

// The fates of a record.
const (
	visible = iota
	undecided
	aborted
)

// fate says what the part of the log below end tells of the record at offset.
func (l *cleanLog) fate(offset, end int64) int {
	i, in := l.of[offset]
	switch {
	case !in || l.txns[i].LastOffset < end && l.txns[i].commit:
		return visible
	case l.txns[i].LastOffset < end:
		return aborted
	}
	return undecided
}

// cleanFound is what a log holds.
type cleanFound struct {
	records []batch.Record
	markers map[int64]bool
	txns    map[int]bool // those of which there is a batch, if only an emptied one
}

func (l *cleanLog) find(p *Partition) (f cleanFound, err error) {
	f = cleanFound{markers: map[int64]bool{}, txns: map[int]bool{}}
	rest, err := readAll(p, p.Offsets().Start, 1000)
	last := int64(-1)
	for len(rest) > 0 && err == nil {
		var b batch.Batch
		if b, rest, err = batch.Split(rest); err != nil {
			break
		}
		if err := b.CheckCRC(); err != nil || b.BaseOffset() <= last {
			return f, fmt.Errorf("the batch at %d, behind offset %d: %w", b.BaseOffset(), last, err)
		}
		last = b.LastOffset()
		if b.Control() {
			f.markers[b.BaseOffset()] = true
			continue
		}
		if b.Transactional() {
			f.txns[l.of[b.BaseOffset()]] = true
		}
		for rec, err := range b.Records(1 << 20) {
			if err != nil {
				return f, err
			}
			rec.Key, rec.Value = bytes.Clone(rec.Key), bytes.Clone(rec.Value)
			f.records = append(f.records, rec)
		}
	}
	return f, err
}

// compare holds what is in a partition against what was appended below its end.
func (l *cleanLog) compare(p *Partition, now, retention int64) (cleanFound, error) {
	f, err := l.find(p)
	end := p.Offsets().End
	if err == nil {
		err = l.compareRecords(f, end, now, retention)
	}
	if err == nil {
		err = l.compareTxns(f, end, now, retention)
	}
	if err == nil {
		err = l.compareAborted(p, f, end)
	}
	return f, err
}

func (l *cleanLog) compareRecords(f cleanFound, end, now, retention int64) error {
	have := map[int64]bool{}
	kept := map[string]int64{}
	for _, g := range f.records {
		if g.Offset >= end {
			return fmt.Errorf("offset %d is not below the end %d", g.Offset, end)
		}
		want := l.records[g.Offset]
		if !bytes.Equal(g.Key, want.Key) || !bytes.Equal(g.Value, want.Value) || (g.Value == nil) != (want.Value == nil) || g.Timestamp != want.Timestamp {
			return fmt.Errorf("offset %d has %q=%q, appended was %q=%q", g.Offset, g.Key, g.Value, want.Key, want.Value)
		}
		have[g.Offset] = true
		if l.fate(g.Offset, end) == visible {
			kept[string(g.Key)] = g.Offset
		}
	}
	newest := map[string]int64{}
	for _, w := range l.records[:end] {
		if w.Key == nil {
			continue
		}
		switch l.fate(w.Offset, end) {
		case visible:
			newest[string(w.Key)] = w.Offset
		case undecided:
			if !have[w.Offset] {
				return fmt.Errorf("the record at offset %d, of an open transaction, is lost", w.Offset)
			}
		}
	}
	for key, offset := range newest {
		if have[offset] {
			continue
		}
		w := l.records[offset]
		if w.Value != nil {
			return fmt.Errorf("the newest record of %s, at offset %d, is lost", key, offset)
		}
		if now < w.Timestamp+retention {
			return fmt.Errorf("the tombstone of %s, at offset %d, went too early", key, offset)
		}
		if old, ok := kept[key]; ok {
			return fmt.Errorf("%s was deleted at offset %d, its record at %d is there again", key, offset, old)
		}
	}
	return nil
}

// compareTxns looks at the markers.
func (l *cleanLog) compareTxns(f cleanFound, end, now, retention int64) error {
	for i, t := range l.txns {
		if t.LastOffset >= end || f.markers[t.LastOffset] {
			continue
		}
		if f.txns[i] {
			return fmt.Errorf("the marker at %d went before all that its transaction has from %d on", t.LastOffset, t.FirstOffset)
		}
		if now < t.ended+retention {
			return fmt.Errorf("the marker at %d went too early", t.LastOffset)
		}
	}
	return nil
}

// compareAborted holds what readers are told against the records that are there.
func (l *cleanLog) compareAborted(p *Partition, f cleanFound, end int64) error {
	stable := l.stable(end)
	if got := p.Offsets().Stable; got != stable {
		return fmt.Errorf("the last stable offset is %d, want %d", got, stable)
	}
	told := map[AbortedTxn]bool{}
	list, err := p.Aborted(0, stable)
	if err != nil {
		return err
	}
	for _, t := range list {
		told[t] = true
	}
	for _, t := range l.txns {
		if t.LastOffset < end && !t.commit {
			list = slices.DeleteFunc(list, func(o AbortedTxn) bool { return o == t.AbortedTxn })
		}
	}
	for i := range f.txns {
		if t := l.txns[i]; t.LastOffset < end && !t.commit && t.FirstOffset < stable && !told[t.AbortedTxn] {
			return fmt.Errorf("readers are not told of %+v, of which a batch is there", t.AbortedTxn)
		}
	}
	if len(list) > 0 {
		return fmt.Errorf("told of %+v, which were not aborted", list)
	}
	p.mu.Lock()
	cleaned := p.cleaner.cleaned
	p.mu.Unlock()
	for _, g := range f.records {
		if l.fate(g.Offset, end) != aborted {
			continue
		}
		t := l.txns[l.of[g.Offset]].AbortedTxn
		if g.Offset < cleaned {
			return fmt.Errorf("the record at %d was aborted and is there, cleaned is up to %d", g.Offset, cleaned)
		}
		one, err := p.Aborted(g.Offset, min(g.Offset+1, stable))
		if g.Offset < stable && (err != nil || !slices.Contains(one, t)) {
			return fmt.Errorf("a reader of offset %d is told of %+v, which is not %+v, %w", g.Offset, one, t, err)
		}
	}
	return nil
}

// follow notes, after a cleaning, the markers without anything of their
// transactions, and holds those that went against what was noted before.
func (l *cleanLog) follow(f cleanFound, now, retention int64) error {
	for i, t := range l.txns {
		if t.LastOffset == stillOpen || f.txns[i] {
			continue
		}
		since, noted := l.bare[t.LastOffset]
		switch {
		case f.markers[t.LastOffset] && !noted:
			l.bare[t.LastOffset] = now
		case !f.markers[t.LastOffset] && retention > 0 && (!noted || now < since+retention):
			return fmt.Errorf("the marker at %d went at %d, it was first alone at %d (%t), and is kept for %d ms",
				t.LastOffset, now, since, noted, retention)
		}
	}
	return nil
}
