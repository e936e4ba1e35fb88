package sim

// decide finds out from the markers of one log what became of its records.
func (l *Ledger) decide(p *partition) {
	undone := map[int64][]*fate{} // by producer id
	for _, e := range p.back {
		if e.record.isMarker() {
			what := aborted
			if e.record.Writer == commitMarker {
				what = committed
			}
			for _, f := range undone[e.record.Seq] {
				f.decided = what
			}
			delete(undone, e.record.Seq)
		} else if f := l.fates[e.record]; f != nil && f.txn != nil {
			f.decided = undecided
			undone[e.producer] = append(undone[e.producer], f)
		}
	}
}

// finishTxns judges transactions when all logs have been read back. With durability
// os a power cut may take the end of a transaction in one partition and leave it in
// another.
func (l *Ledger) finishTxns() {
	for id, x := range l.txns.all {
		l.finishTxn(id, x)
	}
	if l.forgetful() {
		return
	}
	for k, s := range l.txns.shown {
		l.finishShown(k, s)
	}
	if l.txns.copies != nil {
		l.finishCopies()
	}
}

func (l *Ledger) finishTxn(id Txn, x *transaction) {
	var n [aborted + 1]int
	for _, r := range x.records {
		f := l.fates[r]
		n[f.decided]++
		if f.zombie && f.decided != absent && !l.forgetful() {
			l.findings.add(ZombieTxn, "%v: %v is in the log, and its producer was fenced before", f.partition, r)
		}
	}
	l.countTxn(x, n[committed] > 0, n[aborted] > 0)
	if l.forgetful() {
		return
	}
	if n[committed] > 0 && n[aborted]+n[undecided] > 0 {
		l.findings.add(TornTxn, "%v: %d of its records are committed, %d aborted, %d neither: %v", id, n[committed], n[aborted], n[undecided], l.places(x))
	}
	switch {
	case x.committed && x.undone:
		l.findings.add(WrongEnd, "%v: the answers are that it is committed and that it is aborted", id)
	case x.committed && n[committed] == 0 && n[aborted]+n[undecided] > 0:
		l.findings.add(WrongEnd, "%v: the answer is that it is committed, and in the log it is not: %v", id, l.places(x))
	case x.undone && n[committed] > 0:
		l.findings.add(WrongEnd, "%v: the answer is that it is aborted, and in the log it is committed", id)
	case !x.asked && n[committed] > 0:
		l.findings.add(WrongEnd, "%v is committed, and nobody had asked for that (fenced: %v)", id, x.fenced)
	case n[committed] == 0 && n[undecided] > 0:
		l.findings.add(StableHangs, "%v is open when all is over: %v", id, l.places(x))
	}
}

func (l *Ledger) countTxn(x *transaction, committed, aborted bool) {
	c := &l.txns.count
	switch {
	case committed:
		c.Committed++
	case aborted:
		c.Aborted++
	default:
		return
	}
	if !x.tried && !committed {
		c.Abandoned++
	} else if !x.committed && !x.undone {
		c.Unanswered++
	}
}

// places tells the first records of a transaction and where they stand.
func (l *Ledger) places(x *transaction) []fate {
	var out []fate
	for _, r := range x.records[:min(4, len(x.records))] {
		f := *l.fates[r]
		f.txn = nil
		out = append(out, f)
	}
	return out
}

// finishShown: a reader of what is committed was shown that, and all of it.
func (l *Ledger) finishShown(k readerOf, s *shown) {
	for offset, r := range s.at {
		if f := l.fates[r]; f != nil && f.txn != nil && f.decided != committed {
			l.findings.add(AbortedShown, "%v offset %d: %s was shown %v, which is not committed (%d)", k.partition, offset, k.reader, r, f.decided)
		}
	}
	for _, e := range l.partition(k.partition).back {
		f := l.fates[e.record]
		if f == nil || f.txn == nil || f.decided != committed || e.offset >= s.next {
			continue
		}
		if got, ok := s.at[e.offset]; !ok {
			l.findings.add(CommittedHidden, "%v offset %d: %s came to %d and was not shown %v", k.partition, e.offset, k.reader, s.next, e.record)
		} else if got != e.record {
			l.findings.add(InconsistentValue, "%v offset %d: %s was shown %v, the log has %v", k.partition, e.offset, k.reader, got, e.record)
		}
	}
}

// finishCopies: each committed input has led to one committed output.
func (l *Ledger) finishCopies() {
	outputs := map[Record]int{}
	for made, from := range l.txns.made {
		f := l.fates[made]
		if f == nil || f.decided != committed {
			continue
		}
		outputs[from]++
		if in := l.fates[from]; in == nil || in.decided != committed {
			l.findings.add(Phantom, "%v: %v is a copy of %v, which is not committed", f.partition, made, from)
		}
	}
	for r, f := range l.fates {
		if f.partition.Topic != l.txns.copies.From || f.decided != committed {
			continue
		}
		switch n := outputs[r]; {
		case n == 0:
			l.findings.add(CopyLost, "%v: %v was committed, and there is no copy of it", f.partition, r)
		case n > 1:
			l.findings.add(CopyTwice, "%v: there are %d copies of %v", f.partition, n, r)
		default:
			l.txns.count.Copied++
		}
	}
}
