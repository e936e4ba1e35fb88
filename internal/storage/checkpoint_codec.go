package storage

import (
	"encoding/binary"
	"errors"

	"github.com/weirstream/weir/internal/journal"
)

const (
	checkpointMagic = 0x77636b31 // "wck1"
	// Version 1 had neither generations nor the mark of the cleaner, 2 no transactions.
	checkpointVersion = 3
)

// checkpoint is what a start needs to know: the state of the journal and, for
// each partition that was ever written to, what is synced.
type checkpoint struct {
	clean      bool
	durability Durability // in which the data was last written
	epoch      int32
	journal    journal.State
	partitions []partitionState
}

// partitionState is one partition at its recovery point: all bytes that it
// tells of are synced. The point is the end of the last segment.
type partitionState struct {
	topic     TopicID
	partition int32
	start     int64
	next      int64
	segments  []segmentState
	epochs    []epochStart
	producers producers
	cleaned   int64 // offset up to which the log is compacted
}

type segmentState struct {
	base, size, maxTS int64
	generation        uint32 // 0: as it was appended; raised by each cleaning
	aborted           uint32 // entries of its transaction index
}

var be = binary.BigEndian

// appendPartition encodes a partition behind its length.
func appendPartition(b []byte, p *partitionState) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = append(b, p.topic[:]...)
	b = be.AppendUint32(b, uint32(p.partition))
	b = be.AppendUint64(b, uint64(p.start))
	b = be.AppendUint64(b, uint64(p.next))
	b = be.AppendUint32(b, uint32(len(p.segments)))
	for _, s := range p.segments {
		b = be.AppendUint64(b, uint64(s.base))
		b = be.AppendUint64(b, uint64(s.size))
		b = be.AppendUint64(b, uint64(s.maxTS))
	}
	b = be.AppendUint32(b, uint32(len(p.epochs)))
	for _, e := range p.epochs {
		b = be.AppendUint32(b, uint32(e.epoch))
		b = be.AppendUint64(b, uint64(e.start))
	}
	b = be.AppendUint32(b, uint32(len(p.producers)))
	for id, w := range p.producers {
		b = be.AppendUint64(b, uint64(id))
		b = be.AppendUint16(b, uint16(w.epoch))
		b = be.AppendUint64(b, uint64(w.used))
		b = append(b, byte(w.n))
		for _, s := range w.window[:w.n] {
			b = be.AppendUint32(b, uint32(s.first))
			b = be.AppendUint32(b, uint32(s.last))
			b = be.AppendUint64(b, uint64(s.base))
		}
	}
	b = be.AppendUint64(b, uint64(p.cleaned))
	for _, s := range p.segments {
		b = be.AppendUint32(b, s.generation)
	}
	for _, s := range p.segments {
		b = be.AppendUint32(b, s.aborted)
	}
	b = appendTxns(b, p.producers)
	be.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// appendTxns encodes what is known of the transactions of those producers that
// have had any.
func appendTxns(b []byte, ps producers) []byte {
	at, n := len(b), uint32(0)
	b = append(b, 0, 0, 0, 0)
	for id, w := range ps {
		if w.txn < 0 && w.coordinator < 0 {
			continue
		}
		n++
		b = be.AppendUint64(b, uint64(id))
		b = be.AppendUint32(b, uint32(w.coordinator))
		b = be.AppendUint64(b, uint64(w.txn))
	}
	be.PutUint32(b[at:], n)
	return b
}

// decodeTxns is the inverse of appendTxns.
func decodeTxns(r *reader, ps producers) bool {
	for range r.count(20) {
		w := ps[r.i64()]
		if w == nil {
			return false
		}
		w.coordinator, w.txn = max(int32(r.u32()), -1), max(r.i64(), -1)
	}
	return true
}

// encodeCheckpoint encodes the head and takes the partitions as appendPartition
// made them.
func encodeCheckpoint(c *checkpoint, records [][]byte) []byte {
	b := be.AppendUint32(nil, checkpointMagic)
	b = be.AppendUint16(b, checkpointVersion)
	flags := byte(0)
	if c.clean {
		flags = 1
	}
	b = append(b, flags, byte(c.durability))
	b = be.AppendUint32(b, uint32(c.epoch))
	b = appendPosition(b, c.journal.Replay)
	b = be.AppendUint64(b, uint64(c.journal.Synced))
	b = be.AppendUint32(b, uint32(len(c.journal.Spans)))
	for _, s := range c.journal.Spans {
		b = be.AppendUint32(b, s.Incarnation)
		b = be.AppendUint64(b, uint64(s.First))
		b = appendPosition(b, s.Start)
	}
	b = be.AppendUint32(b, uint32(len(records)))
	for _, r := range records {
		b = append(b, r...)
	}
	return be.AppendUint32(b, crc32c(b))
}

func appendPosition(b []byte, p journal.Position) []byte {
	b = be.AppendUint64(b, p.File)
	b = be.AppendUint64(b, uint64(p.Offset))
	return be.AppendUint64(b, uint64(p.LSN))
}

// reader takes fields off a slice; the first that is not there sets bad.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.bad = true
		r.b = nil
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() byte    { return r.take(1)[0] }
func (r *reader) u16() uint16 { return be.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return be.Uint32(r.take(4)) }
func (r *reader) i64() int64  { return int64(be.Uint64(r.take(8))) }
func (r *reader) count(size int) int { // of elements of at least size bytes
	n := int64(r.u32())
	if n > int64(len(r.b)/size) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) position() journal.Position {
	return journal.Position{File: uint64(r.i64()), Offset: r.i64(), LSN: journal.LSN(r.i64())}
}

var (
	errCheckpoint    = errors.New("not a whole checkpoint: checksum or layout is wrong")
	errCheckpointNew = errors.New("checkpoint of a newer version")
)

func decodeCheckpoint(b []byte) (*checkpoint, error) {
	if len(b) < 12 || be.Uint32(b) != checkpointMagic {
		return nil, errCheckpoint
	}
	body, sum := b[:len(b)-4], be.Uint32(b[len(b)-4:])
	if crc32c(body) != sum {
		return nil, errCheckpoint
	}
	r := &reader{b: body[4:]}
	version := r.u16()
	if version > checkpointVersion {
		return nil, errCheckpointNew
	}
	c := &checkpoint{clean: r.u8()&1 != 0, durability: Durability(r.u8()), epoch: int32(r.u32())}
	c.journal.Replay = r.position()
	c.journal.Synced = journal.LSN(r.i64())
	for range r.count(36) {
		c.journal.Spans = append(c.journal.Spans, journal.Span{
			Incarnation: r.u32(), First: journal.LSN(r.i64()), Start: r.position(),
		})
	}
	for range r.count(52) {
		n := int(r.u32())
		if n > len(r.b) {
			return nil, errCheckpoint
		}
		p, ok := decodePartition(&reader{b: r.take(n)}, version)
		if !ok {
			return nil, errCheckpoint
		}
		c.partitions = append(c.partitions, p)
	}
	if r.bad || len(r.b) > 0 {
		return nil, errCheckpoint
	}
	return c, nil
}

func decodePartition(r *reader, version uint16) (p partitionState, ok bool) {
	copy(p.topic[:], r.take(16))
	p.partition = int32(r.u32())
	p.start, p.next = r.i64(), r.i64()
	for range r.count(24) {
		s := segmentState{base: r.i64(), size: r.i64(), maxTS: r.i64()}
		if k := len(p.segments); s.base < 0 || s.size < 0 || k > 0 && s.base <= p.segments[k-1].base {
			return p, false
		}
		p.segments = append(p.segments, s)
	}
	for range r.count(12) {
		p.epochs = append(p.epochs, epochStart{int32(r.u32()), r.i64()})
	}
	n := r.count(19)
	if n > 0 {
		p.producers = make(producers, n)
	}
	for range n {
		id := r.i64()
		w := newProducer(int16(r.u16()))
		w.used, w.n = r.i64(), int8(r.u8())
		if w.n < 0 || w.n > windowLen {
			return p, false
		}
		for k := range w.window[:w.n] {
			w.window[k] = seen{int32(r.u32()), int32(r.u32()), r.i64()}
		}
		p.producers[id] = w
	}
	if version >= 2 {
		p.cleaned = r.i64()
		for k := range p.segments {
			p.segments[k].generation = r.u32()
		}
	}
	if version >= 3 {
		for k := range p.segments {
			p.segments[k].aborted = r.u32()
		}
		if !decodeTxns(r, p.producers) {
			return p, false
		}
	}
	return p, !r.bad && len(r.b) == 0
}
