package batch

import (
	"encoding/binary"
	"fmt"
	"math"
)

// attrDeleteHorizon says that the base timestamp is the time, in ms, from which
// the batch's tombstones may be removed (KIP-534). Deltas count from it as from
// any base timestamp, so that readers need not know the attribute.
const attrDeleteHorizon = 0x40

// NoHorizon asks Rewrite to leave the delete horizon as it is.
const NoHorizon = math.MinInt64

// DeleteHorizon is the time, in ms, from which the tombstones of the batch may
// be removed; ok is false if none is set (KIP-534).
func (b Batch) DeleteHorizon() (millis int64, ok bool) {
	return b.BaseTimestamp(), b.Attributes()&attrDeleteHorizon != 0
}

// Entry is what compaction looks at in a record. Key is a view that is valid
// during the call it is given to.
type Entry struct {
	Offset    int64
	Timestamp int64  // ms since 1970
	Key       []byte // nil is null
	Tombstone bool   // the value is null
}

// Rewriter opens batches for compaction and makes them anew with fewer records.
// It keeps buffers and encoders from batch to batch, and is for one goroutine.
type Rewriter struct {
	compressor compressor
	records    []byte // kept records, not compressed
	out        []byte // the new batch
}

// Each shows every record of b, in the order of offsets, to f until f says
// false. limit bounds what compressed records may decompress to, in bytes. The
// checksum is not looked at.
func (w *Rewriter) Each(b Batch, limit int64, f func(Entry) bool) error {
	payload, err := b.open(limit)
	if err != nil {
		return err
	}
	var fr framing
	for k := range max(b.Count(), 0) {
		n, err := fr.parse(payload)
		if err != nil {
			return fmt.Errorf("record %d of %d: %w", k, b.Count(), err)
		}
		if !f(b.entry(&fr, payload)) {
			return nil
		}
		payload = payload[n:]
	}
	if len(payload) > 0 {
		return fmt.Errorf("%w: %d bytes follow the last record", ErrInvalidRecord, len(payload))
	}
	return nil
}

func (b Batch) open(limit int64) ([]byte, error) {
	if b.Codec() == None {
		return b[HeaderLen:], nil
	}
	if len(b) == HeaderLen && b.Count() == 0 {
		return nil, nil
	}
	return decompress(b.Codec(), b[HeaderLen:], limit)
}

func (b Batch) entry(f *framing, bytes []byte) Entry {
	e := Entry{
		Offset: b.BaseOffset() + f.offsetDelta, Timestamp: b.BaseTimestamp() + f.timestampDelta,
		Key: part(bytes, f.keyStart, f.keyEnd), Tombstone: f.valueStart < 0,
	}
	if b.LogAppendTime() {
		e.Timestamp = b.MaxTimestamp()
	}
	return e
}

// Rewrite returns b with the records for which keep says true: b itself if they
// are all of them, nil if there are none, or else a batch that is valid until
// the next call. That one has the offsets, sequence numbers and codec of b, its
// last offset delta too, so that nothing behind a removed record moves; the
// largest timestamp is that of the records left.
//
// If horizon is not NoHorizon, b has none, and a tombstone is kept, it is set
// as the delete horizon.
func (w *Rewriter) Rewrite(b Batch, limit, horizon int64, keep func(Entry) bool) (Batch, error) {
	payload, err := b.open(limit)
	if err != nil {
		return nil, err
	}
	s := selection{largest: math.MinInt64}
	w.records, err = s.take(w.records[:0], b, payload, keep)
	if err != nil {
		return nil, err
	}
	_, has := b.DeleteHorizon()
	mark := horizon != NoHorizon && !has && s.tombstones
	switch {
	case s.kept == 0:
		return nil, nil
	case s.kept == int(b.Count()) && !mark:
		return b, nil
	}
	if !mark {
		horizon = NoHorizon
	}
	return w.make(b, &s, horizon)
}

// SetHorizon returns b with the delete horizon set, and b itself if it has one.
// Nothing else changes for readers. It is how compaction lets a marker go whose
// transaction has no records left (KIP-534). The result is valid until the next
// call.
func (w *Rewriter) SetHorizon(b Batch, limit, horizon int64) (Batch, error) {
	if _, has := b.DeleteHorizon(); has {
		return b, nil
	}
	payload, err := b.open(limit)
	if err != nil {
		return nil, err
	}
	s := selection{largest: math.MinInt64}
	w.records, err = s.take(w.records[:0], b, payload, func(Entry) bool { return true })
	if err != nil {
		return nil, err
	}
	return w.make(b, &s, horizon)
}

// make builds the batch of the records that were kept.
func (w *Rewriter) make(b Batch, s *selection, horizon int64) (Batch, error) {
	out, err := append(w.out[:0], b[:HeaderLen]...), error(nil)
	if horizon != NoHorizon {
		shift := b.BaseTimestamp() - horizon
		moved := make([]byte, 0, len(w.records)+5*s.kept)
		if moved, err = shiftTimes(moved, w.records, shift); err != nil {
			return nil, err
		}
		w.records = moved
		binary.BigEndian.PutUint16(out[21:], uint16(b.Attributes())|attrDeleteHorizon)
		binary.BigEndian.PutUint64(out[27:], uint64(horizon))
	}
	if out, err = w.compressor.append(out, b.Codec(), w.records, b[HeaderLen:]); err != nil {
		return nil, err
	}
	w.out = out
	n := Batch(out)
	binary.BigEndian.PutUint32(n[8:], uint32(len(n)-lengthStart))
	binary.BigEndian.PutUint32(n[57:], uint32(s.kept))
	if !b.LogAppendTime() {
		binary.BigEndian.PutUint64(n[35:], uint64(s.largest))
	}
	n.setCRC()
	return n, nil
}

// selection is what a Rewriter learns of the records that stay.
type selection struct {
	kept       int
	largest    int64 // timestamp
	tombstones bool
}

// take appends the records that stay to dst, as they are.
func (s *selection) take(dst []byte, b Batch, payload []byte, keep func(Entry) bool) ([]byte, error) {
	var f framing
	for k := range max(b.Count(), 0) {
		n, err := f.parse(payload)
		if err != nil {
			return dst, fmt.Errorf("record %d of %d: %w", k, b.Count(), err)
		}
		if e := b.entry(&f, payload); keep(e) {
			dst = append(dst, payload[:n]...)
			s.kept++
			s.largest = max(s.largest, e.Timestamp)
			s.tombstones = s.tombstones || e.Tombstone
		}
		payload = payload[n:]
	}
	if len(payload) > 0 {
		return dst, fmt.Errorf("%w: %d bytes follow the last record", ErrInvalidRecord, len(payload))
	}
	return dst, nil
}

// shiftTimes appends records to dst with shift added to their timestamp deltas.
func shiftTimes(dst, records []byte, shift int64) ([]byte, error) {
	var f framing
	var delta [binary.MaxVarintLen64]byte
	for len(records) > 0 {
		n, err := f.parse(records)
		if err != nil {
			return nil, err
		}
		_, start := varint32(records, 0)
		_, after := varint64(records, start+1) // behind the attributes and the old delta
		d := binary.PutVarint(delta[:], f.timestampDelta+shift)
		dst = binary.AppendVarint(dst, int64(1+d+n-after))
		dst = append(dst, records[start])
		dst = append(dst, delta[:d]...)
		dst = append(dst, records[after:n]...)
		records = records[n:]
	}
	return dst, nil
}

// Emptied returns the header of b as a batch without records: what is left to
// tell of a producer's newest batch once compaction took all of it. Offsets and
// sequence numbers stand, there is no timestamp any more.
func (b Batch) Emptied() Batch {
	n := Batch(append([]byte(nil), b[:HeaderLen]...))
	binary.BigEndian.PutUint32(n[8:], HeaderLen-lengthStart)
	binary.BigEndian.PutUint16(n[21:], uint16(b.Attributes())&^(attrCodec|attrDeleteHorizon))
	binary.BigEndian.PutUint64(n[27:], math.MaxUint64) // -1: none
	binary.BigEndian.PutUint64(n[35:], math.MaxUint64)
	binary.BigEndian.PutUint32(n[57:], 0)
	n.setCRC()
	return n
}
