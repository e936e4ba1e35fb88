package sim

import "time"

// txnBook is what the ledger knows of transactions.
type txnBook struct {
	all    map[Txn]*transaction
	made   map[Record]Record
	shown  map[readerOf]*shown
	copies *Copies
	count  TxnCount
}

func newTxnBook() txnBook {
	return txnBook{all: map[Txn]*transaction{}, made: map[Record]Record{}, shown: map[readerOf]*shown{}}
}

// transaction is what a producer asked for and was told.
type transaction struct {
	records           []Record
	asked             bool // to commit
	tried             bool // to end it in any way
	committed, undone bool // as it was answered
	fenced            bool
}

// shown is what one reader of what is committed was given of one partition.
type shown struct {
	at   map[int64]Record
	next int64
}

// decision is what a log says of a record.
type decision int8

const (
	absent    decision = iota
	undecided          // no marker behind it
	committed
	aborted
)

func (l *Ledger) transaction(id Txn) *transaction {
	x := l.txns.all[id]
	if x == nil {
		x = &transaction{}
		l.txns.all[id] = x
	}
	return x
}

func (l *Ledger) shownTo(reader string, p Partition) *shown {
	k := readerOf{reader, p}
	s := l.txns.shown[k]
	if s == nil {
		s = &shown{at: map[int64]Record{}}
		l.txns.shown[k] = s
	}
	return s
}

// Transactions is how much of them was judged so far.
func (l *Ledger) Transactions() TxnCount {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.txns.count
}

func (e SentIn) apply(l *Ledger) {
	e.Sent.apply(l)
	x := l.transaction(e.Txn)
	x.records = append(x.records, e.Record)
	f := l.fates[e.Record]
	f.txn, f.zombie = x, x.fenced
}

func (e Made) apply(l *Ledger) { l.txns.made[e.Record] = e.From }

func (e EndAsked) apply(l *Ledger) {
	l.txns.count.Ends++
	x := l.transaction(e.Txn)
	x.tried = true
	if e.Commit && !x.fenced {
		x.asked = true
	}
}

func (e EndAnswered) apply(l *Ledger) {
	x := l.transaction(e.Txn)
	if e.Commit {
		x.committed = true
	} else {
		x.undone = true
	}
	if e.Commit && !x.asked && !l.forgetful() {
		l.findings.add(ZombieTxn, "%v of a producer that was fenced was committed", e.Txn)
	}
}

func (e StaleEnd) apply(l *Ledger) {
	l.txns.count.Ends++
	l.txns.count.Stale++
	if e.Accepted && !l.forgetful() {
		l.findings.add(ZombieTxn, "an end with an epoch that nobody had any more was accepted, before the end of %v", e.Txn)
	}
}

func (e Fenced) apply(l *Ledger) {
	l.txns.count.Fenced++
	l.transaction(e.Txn).fenced = true
}

func (e Refused) apply(l *Ledger) {
	Unknown(e).apply(l)
	l.txns.count.Refused++
}

func (e Shown) apply(l *Ledger) {
	l.checkSent("showed", e.Partition, e.Offset, e.Record)
	s := l.shownTo(e.Reader, e.Partition)
	if e.Offset < s.next && !l.forgetful() {
		l.findings.add(NonmonotonicPoll, "%s of %v was given offset %d, expected %d or more", e.Reader, e.Partition, e.Offset, s.next)
	}
	s.next = e.Offset + 1
	if e.Record.isMarker() {
		return
	}
	l.txns.count.Shown++
	s.at[e.Offset] = e.Record
	if f := l.fates[e.Record]; f != nil && f.txn != nil && !f.txn.asked && !l.forgetful() {
		l.findings.add(AbortedShown, "%v offset %d: %s was shown %v, and nobody had asked to commit it", e.Partition, e.Offset, e.Reader, e.Record)
		delete(s.at, e.Offset)
	}
}

func (e ShownTo) apply(l *Ledger) { l.shownTo(e.Reader, e.Partition).next = e.End }

func (e ReadBackIn) apply(l *Ledger) {
	e.ReadBack.apply(l)
	p := l.partition(e.Partition)
	p.back[len(p.back)-1].producer = e.Producer
}

func (e Watched) apply(l *Ledger) {
	p := l.partition(e.Partition)
	if e.Stable >= e.High || e.Stable != p.watched {
		p.watched, p.hangs = e.Stable, 0
		return
	}
	before := p.hangs
	p.hangs += e.For
	if before <= e.Most && p.hangs > e.Most && !l.forgetful() {
		l.findings.add(StableHangs, "%v: stable up to %d of %d for more than %v", e.Partition, e.Stable, e.High, e.Most.Round(time.Millisecond))
	}
}

func (e Copies) apply(l *Ledger) { l.txns.copies = &e }

func (e CopiedAll) apply(l *Ledger) {
	if e.Committed < e.High {
		l.findings.add(GroupStuck, "copiers, %v: committed %d of %d", e.Partition, e.Committed, e.High)
	}
}

// checkAck: what a producer sends after it was fenced is refused.
func (l *Ledger) checkAck(r Record, f *fate) {
	if f.zombie && !l.forgetful() {
		l.findings.add(ZombieTxn, "%v: %v of a producer that was fenced was acknowledged", f.partition, r)
	}
}
