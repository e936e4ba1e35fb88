package batch

import (
	"fmt"
	"iter"
)

// Record is one record of a batch.
type Record struct {
	Offset    int64
	Timestamp int64  // ms since 1970; -1 if the producer gave none
	Key       []byte // nil is null
	Value     []byte // nil is null
	Headers   []Header
}

// Header is one header of a record (KIP-82). Keys may repeat.
type Header struct {
	Key   string
	Value []byte // nil is null
}

// Records iterates over the records in the order of their offsets. limit bounds
// the bytes that compressed records may decompress to; more is ErrTooLarge. An
// error ends the iteration and is its last element. Keys and values are views
// into the batch or, if it is compressed, into a buffer of the iteration's own;
// they stay valid as long as that memory is not written to.
//
// The records of a compacted batch have gaps in their offsets and may be fewer
// than LastOffsetDelta suggests; Count is what counts.
func (b Batch) Records(limit int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		payload := []byte(b[HeaderLen:])
		if b.Codec() != None {
			var err error
			if payload, err = decompress(b.Codec(), payload, limit); err != nil {
				yield(Record{}, err)
				return
			}
		}
		var f framing
		for k := range max(b.Count(), 0) {
			n, err := f.parse(payload)
			if err != nil {
				yield(Record{}, fmt.Errorf("record %d of %d: %w", k, b.Count(), err))
				return
			}
			if !yield(b.record(&f, payload[:n]), nil) {
				return
			}
			payload = payload[n:]
		}
		if len(payload) > 0 {
			yield(Record{}, fmt.Errorf("%w: %d bytes follow the last record", ErrInvalidRecord, len(payload)))
		}
	}
}

// record makes the record whose framing f describes out of its bytes.
func (b Batch) record(f *framing, bytes []byte) Record {
	r := Record{
		Offset:    b.BaseOffset() + f.offsetDelta,
		Timestamp: b.BaseTimestamp() + f.timestampDelta,
		Key:       part(bytes, f.keyStart, f.keyEnd),
		Value:     part(bytes, f.valueStart, f.valueEnd),
	}
	if b.LogAppendTime() {
		r.Timestamp = b.MaxTimestamp()
	}
	if f.headers > 0 {
		r.Headers = make([]Header, f.headers)
	}
	i := f.headersStart
	for h := range r.Headers {
		var start, end int
		start, end, i = nullable(bytes, i)
		r.Headers[h].Key = string(bytes[start:end])
		start, end, i = nullable(bytes, i)
		r.Headers[h].Value = part(bytes, start, end)
	}
	return r
}

func part(b []byte, start, end int) []byte {
	if start < 0 {
		return nil
	}
	return b[start:end:end]
}
