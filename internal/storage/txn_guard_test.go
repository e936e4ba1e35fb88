package storage

import (
	"errors"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// oneProducer is a Guard that admits the batches of one producer.
type oneProducer int64

var errNotAdmitted = errors.New("not admitted")

func (g oneProducer) Admit(topic TopicID, partition int32, b batch.Batch) error {
	if topic != ordersID || partition != 1 {
		return errors.New("asked for another partition")
	}
	if b.ProducerID() != int64(g) {
		return errNotAdmitted
	}
	return nil
}

// TestGuard: what a guard refuses is not appended, with all that is in the commit; a
// duplicate was admitted once.
func TestGuard(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
	defer mustClose(t, s)
	p, other := s.Partition(ordersID, 1), s.Partition(ordersID, 0)
	guarded := func(b batch.Batch, pid int64) error {
		appends := []Append{{Partition: other, Batches: text(1, "x")}, {Partition: p, Batches: b, Guard: oneProducer(pid)}}
		_, err := s.Commit(t.Context(), appends)
		return err
	}
	if err := guarded(inTxn(1, 0, 0, 1), 1); err != nil {
		t.Fatal(err)
	}
	if err := guarded(inTxn(1, 0, 1, 1), 2); !errors.Is(err, errNotAdmitted) {
		t.Fatalf("a batch that the guard refuses: %v", err)
	}
	if err := guarded(inTxn(1, 0, 0, 1), 2); err != nil {
		t.Errorf("a duplicate: %v", err)
	}
	if p.Offsets().End != 1 || other.Offsets().End != 2 {
		t.Errorf("ends %d and %d, want 1 and 2", p.Offsets().End, other.Offsets().End)
	}
}

// TestLateMarkersAreLeftOut: of the markers of an end those are left out that come too
// late for their producer, and all else is appended.
func TestLateMarkersAreLeftOut(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
	defer mustClose(t, s)
	p, other := s.Partition(ordersID, 0), s.Partition(ordersID, 1)
	put(t, s, p, inTxn(1, 3, 0, 1))    // 0
	put(t, s, p, produced(2, 9, 0, 1)) // 1: a newer epoch than that of the marker below
	put(t, s, p, inTxn(3, 9, 0, 1))    // 2: so here, and it is open
	var markers []byte
	for _, m := range []batch.Batch{marker(2, 4, true), marker(1, 4, true), marker(3, 4, true), marker(4, 4, true)} {
		markers = append(markers, m...)
	}
	end := func(b []byte) Append {
		appends := []Append{{Partition: other, Batches: text(1, "x")}, {Partition: p, Batches: b, TxnVersion: 2, Ends: true}}
		lsn, err := s.Commit(t.Context(), appends)
		if err == nil {
			err = s.Wait(t.Context(), lsn, Durable)
		}
		if err != nil {
			t.Fatal(err)
		}
		return appends[1]
	}
	if a := end(markers); a.Duplicate || a.Base != 3 {
		t.Fatalf("base %d, duplicate %t", a.Base, a.Duplicate)
	}
	if o := p.Offsets(); o.End != 5 || o.Stable != 2 {
		t.Errorf("%+v, want two markers and the transaction of producer 3 open", o)
	}
	for id, want := range map[int64]int16{1: 4, 2: 9, 3: 9, 4: 4} {
		if w, ok := p.ActiveProducer(id); !ok || w.Epoch != want {
			t.Errorf("producer %d: epoch %d, want %d", id, w.Epoch, want)
		}
	}
	if open := p.OpenTxns(); len(open) != 1 || open[0].ID != 3 || open[0].TxnStart != 2 {
		t.Errorf("open transactions: %+v", open)
	}
	if a := end(marker(2, 4, true)); !a.Duplicate || p.Offsets().End != 5 || other.Offsets().End != 2 {
		t.Errorf("nothing but a late marker: duplicate %t, ends %d and %d", a.Duplicate, p.Offsets().End, other.Offsets().End)
	}
	// A marker of the epoch that is open ends nothing either, yet it is an error of its
	// writer's.
	_, err := s.Commit(t.Context(), []Append{{Partition: p, Batches: marker(3, 9, true), TxnVersion: 2, Ends: true}})
	if !errors.Is(err, ErrProducerFenced) {
		t.Errorf("a marker of the open epoch: %v", err)
	}
}
