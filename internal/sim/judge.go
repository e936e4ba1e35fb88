package sim

func (e Writes) apply(l *Ledger) { l.writers[e.Writer] = e }

func (e Sent) apply(l *Ledger) {
	l.fates[e.Record] = &fate{partition: e.Partition, cuts: l.cuts, offset: -1}
}

func (e Acked) apply(l *Ledger) {
	f := l.fates[e.Record]
	if f == nil {
		l.findings.add(Phantom, "an answer for %v, which was not sent", e.Record)
		return
	}
	f.state, f.offset = acked, e.Offset
	l.acked++
	l.checkAck(e.Record, f)
}

func (e Unknown) apply(l *Ledger) {
	if f := l.fates[e.Record]; f != nil {
		f.state = unknown
	}
}

func (e Stuck) apply(l *Ledger) {
	f := l.fates[e.Record]
	if f == nil || f.state != open {
		return
	}
	f.state = unknown
	l.findings.add(ProducerStuck, "%v to %v has no answer", e.Record, f.partition)
}

func (e Read) apply(l *Ledger) {
	l.checkSent("read", e.Partition, e.Offset, e.Record)
	k := readerOf{e.Reader, e.Partition}
	next, reads := l.readers[k]
	switch {
	case l.forgetful(): // logs may have become shorter than the reader had come
	case reads && e.Offset > next:
		l.findings.add(PollSkip, "%s of %v was given offset %d, expected %d", e.Reader, e.Partition, e.Offset, next)
	case reads && e.Offset < next:
		l.findings.add(NonmonotonicPoll, "%s of %v was given offset %d, expected %d", e.Reader, e.Partition, e.Offset, next)
	}
	l.readers[k] = e.Offset + 1
	p := l.partition(e.Partition)
	if old, again := p.shown[e.Offset]; again && old != e.Record && !l.forgetful() {
		l.findings.add(InconsistentValue, "%v offset %d showed %v and then %v", e.Partition, e.Offset, old, e.Record)
	}
	p.shown[e.Offset] = e.Record
}

func (e Garbled) apply(l *Ledger) {
	l.findings.add(Phantom, "%v offset %d holds what nobody sent: %.80q", e.Partition, e.Offset, e.Value)
}

// checkSent: a record stands in the partition that it was sent to.
func (l *Ledger) checkSent(how string, p Partition, offset int64, r Record) {
	if r.isMarker() {
		return
	}
	switch f := l.fates[r]; {
	case f == nil:
		l.findings.add(Phantom, "%v offset %d: %s %v, which nobody sent", p, offset, how, r)
	case f.partition != p:
		l.findings.add(Phantom, "%v offset %d: %s %v, which was sent to %v", p, offset, how, r, f.partition)
	}
}

func (e Bounds) apply(l *Ledger) {
	p := l.partition(e.Partition)
	if !l.forgetful() {
		if e.High < p.high {
			l.findings.add(HighRegressed, "%v: from %d to %d", e.Partition, p.high, e.High)
		}
		if e.Stable < p.stable {
			l.findings.add(StableRegressed, "%v: from %d to %d", e.Partition, p.stable, e.Stable)
		}
	}
	p.high, p.stable = e.High, e.Stable
}

func (e ReadBack) apply(l *Ledger) {
	l.checkSent("read back", e.Partition, e.Offset, e.Record)
	p := l.partition(e.Partition)
	p.back = append(p.back, entry{offset: e.Offset, record: e.Record})
}

func (e EndOfLog) apply(l *Ledger) {
	l.partition(e.Partition).end = &e
	if e.Why != "" {
		l.findings.add(Unreadable, "%v below %d: %s", e.Partition, e.High, e.Why)
	}
}

func (e Deleted) apply(l *Ledger) { l.deleted[e.Topic] = true }

func (PowerCut) apply(l *Ledger) { l.cuts++ }

func (e Broken) apply(l *Ledger) { l.findings.add(e.Anomaly.Kind, "%s", e.Anomaly.What) }

// Finish compares what was promised and shown with what was read back. All
// partitions that are not deleted must have been read back.
func (l *Ledger) Finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := map[Record][]int64{}
	for name, p := range l.partitions {
		if l.deleted[name.Topic] {
			continue
		}
		l.finishPartition(name, p, at)
		l.decide(p)
	}
	for r, f := range l.fates {
		if !l.deleted[f.partition.Topic] {
			l.finishRecord(r, f, at[r])
		}
	}
	l.finishTxns()
}

// finishPartition checks one log by itself and against what readers were shown.
func (l *Ledger) finishPartition(name Partition, p *partition, at map[Record][]int64) {
	if p.end == nil {
		l.findings.add(Unreadable, "%v was not read back", name)
		return
	}
	next, last, log := p.end.Start, map[int32]int64{}, make(map[int64]Record, len(p.back))
	for _, e := range p.back {
		if e.offset != next {
			l.findings.add(OffsetGap, "%v: offset %d follows %d", name, e.offset, next-1)
		}
		next = e.offset + 1
		log[e.offset] = e.record
		if e.record.isMarker() {
			continue
		}
		at[e.record] = append(at[e.record], e.offset)
		l.checkOrder(name, e, last)
	}
	if next < p.end.High && p.end.Why == "" {
		l.findings.add(OffsetGap, "%v: ends at %d, behind its last record at %d", name, p.end.High, next-1)
	}
	if p.end.High < p.high && !l.forgetful() {
		l.findings.add(HighRegressed, "%v: from %d to %d in the end", name, p.high, p.end.High)
	}
	if l.forgetful() {
		return
	}
	for offset, r := range p.shown {
		switch got, ok := log[offset]; {
		case !ok && offset >= p.end.Start:
			l.findings.add(ReadThenLost, "%v offset %d: %v was read, and is gone", name, offset, r)
		case ok && got != r:
			l.findings.add(InconsistentValue, "%v offset %d: %v was read, now it is %v", name, offset, r, got)
		}
	}
}

// checkOrder: an idempotent writer's records stand in the order it sent them.
func (l *Ledger) checkOrder(name Partition, e entry, last map[int32]int64) {
	if l.writers[e.record.Writer].NotIdempotent {
		return
	}
	if before, ok := last[e.record.Writer]; ok && e.record.Seq < before {
		l.findings.add(Reordered, "%v offset %d: %v behind %d of the same writer", name, e.offset, e.record, before)
	}
	last[e.record.Writer] = max(last[e.record.Writer], e.record.Seq)
}

func (l *Ledger) finishRecord(r Record, f *fate, at []int64) {
	l.finishDelivery(r, f)
	if len(at) > 1 && !l.writers[r.Writer].NotIdempotent {
		l.findings.add(Duplicate, "%v: %v stands at %v", f.partition, r, at)
	}
	if f.state == open {
		l.findings.add(ProducerStuck, "%v to %v has no answer", r, f.partition)
	}
	if f.state != acked {
		return
	}
	if l.forgiven(r, f) {
		if len(at) == 0 {
			l.lost++
		}
		return
	}
	if len(at) == 0 {
		l.findings.add(LostWrite, "%v: %v was acknowledged at offset %d (sent after power cut %d)", f.partition, r, f.offset, f.cuts)
		return
	}
	for _, offset := range at {
		if offset == f.offset {
			return
		}
	}
	if f.offset >= 0 {
		l.findings.add(WrongOffset, "%v: %v was acknowledged at offset %d and stands at %v", f.partition, r, f.offset, at)
	}
}
