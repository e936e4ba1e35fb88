package weir

// slabSize is how many records share an allocation of the ledger.
const slabSize = 64

type slab [slabSize]task

// ledger holds a partition's begun records in offset order and knows the end of
// the contiguous run of finished ones. It is pure; the partition's lock guards
// it, except that entries complete without it.
type ledger struct {
	slabs []*slab // from the one that holds head to the newest
	head  int     // index in slabs[0] of the first record that is not known to be finished

	position  int64 // -1 before the first record came
	epoch     int32 // leader epoch of the last finished record
	finished  int64 // records passed by head
	committed int64 // the position as last committed
}

func newLedger() ledger { return ledger{position: -1, epoch: -1, committed: -1} }

// grow adds room for slabSize records behind the newest.
func (l *ledger) grow() *slab {
	s := new(slab)
	l.slabs = append(l.slabs, s)
	return s
}

// advance moves head over finished records. Slots not begun stop it as
// unfinished ones do.
func (l *ledger) advance() {
	for len(l.slabs) > 0 {
		s := l.slabs[0]
		for ; l.head < slabSize && s[l.head].finished.Load(); l.head++ {
			r := s[l.head].rec
			l.position, l.epoch = r.Offset+1, r.LeaderEpoch
			l.finished++
		}
		if l.head < slabSize {
			return
		}
		l.slabs[0] = nil
		l.slabs, l.head = l.slabs[1:], 0
	}
}

// dirty tells whether there is a position to commit.
func (l *ledger) dirty() bool { return l.finished > 0 && l.position > l.committed }

// inFlight counts the begun records from head on.
func (l *ledger) inFlight() int {
	n := len(l.slabs)
	if n == 0 {
		return 0
	}
	newest, used := l.slabs[n-1], 0
	for used < slabSize && newest[used].begun.Load() {
		used++
	}
	return (n-1)*slabSize + used - l.head
}

// unfinished counts those among them that are not finished.
func (l *ledger) unfinished() int {
	n := 0
	for _, s := range l.slabs {
		for i := range s {
			if s[i].begun.Load() && !s[i].finished.Load() {
				n++
			}
		}
	}
	return n
}
