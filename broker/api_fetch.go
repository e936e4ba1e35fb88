package broker

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Fetch, key 1, v4–18; decoded and encoded by hand.
//
//	v5   log start offset (KIP-107)           v13  topics by id (KIP-516)
//	v7   sessions (KIP-227)                   v15  replica state as a tagged field (KIP-903)
//	v9   current leader epoch (KIP-320)       v16  node endpoints, tagged (KIP-951)
//	v11  rack, preferred replica (KIP-392)    v17  replica directory id, tagged (KIP-853)
//	v12  flexible, last fetched epoch         v18  high watermark, tagged (KIP-1166)
//
// The answer waits in the connection's writer, so the order of answers holds
// while later requests are read and served.
//
// Deviations: while a session serves one request, another one that names it gets
// INVALID_FETCH_SESSION_EPOCH (Kafka: the first one does); a fetch that poses as a
// follower's gets no session. A session looks at partitions until its answer is
// full, so that an error behind that is told in the next one. No Fetch waits
// longer than connections.max.idle.ms. A session that reads committed records only
// is not told of a high watermark that moves alone, without the last stable offset.
// Where more than maxAborted transactions were aborted, an answer has fewer records
// than asked for.

func (b *Broker) fetch(c *call, body []byte) error {
	f := fetches.Get().(*fetch)
	f.version, f.flexible, f.byID = c.version, c.version >= 12, c.version >= 13
	r := wireReader{src: body, flexible: f.flexible}
	if !b.decodeFetch(f, &r) {
		f.recycle()
		return errUndecodable
	}
	c.slot.fetch = f
	f.charged = f.cost()
	c.conn.pending.Add(f.charged)
	return nil
}

// decodeFetch takes a request apart and finds the logs. It returns false for a
// request that cannot be parsed.
func (b *Broker) decodeFetch(f *fetch, r *wireReader) bool {
	replica := int32(-1)
	if f.version < 15 {
		replica = r.int32()
	}
	// While requests wait behind a poll nobody reads, and a client that went is
	// not seen to have gone; so it lasts no longer than a connection may be idle.
	f.maxWait = min(time.Duration(max(0, r.int32()))*time.Millisecond, b.settings.MaxIdle)
	f.minBytes = int(r.int32())
	f.maxBytes = min(int(r.int32()), maxFetchBytes)
	f.minBytes = min(f.minBytes, max(f.maxBytes, 1))
	f.committed = r.int8() == 1
	f.epoch = finalEpoch
	if f.version >= 7 {
		f.session = r.int32()
		f.epoch = r.int32()
	}
	for range r.array(4) {
		b.decodeFetchTopic(f, r)
	}
	if f.version >= 7 {
		f.decodeForgotten(r)
	}
	if f.version >= 11 {
		r.str() // rack: there is one replica
	}
	r.tags(func(tag uint32, value []byte) {
		if tag == 1 && f.version >= 15 && len(value) >= 4 {
			replica = int32(binary.BigEndian.Uint32(value))
		}
	})
	if r.bad {
		return false
	}
	if replica >= 0 {
		f.refuseFollower()
	}
	return true
}

// refuseFollower answers somebody who poses as a follower; there are none. A
// session that goes on was never one of a follower's.
func (f *fetch) refuseFollower() {
	f.follower = true
	if f.incremental() {
		f.refuse(kerr.FetchSessionIDNotFound.Code)
		return
	}
	for i := range f.partitions {
		f.partitions[i].log = nil
		f.partitions[i].code = kerr.NotLeaderForPartition.Code
	}
}

func (b *Broker) decodeFetchTopic(f *fetch, r *wireReader) {
	t := fetchTopic{parts: span{from: len(f.partitions)}}
	unknown := kerr.UnknownTopicOrPartition.Code
	if f.byID {
		t.id = r.uuid()
		t.topic = b.metadata.topicByID(t.id)
		if t.topic == nil {
			unknown = kerr.UnknownTopicID.Code
		}
	} else {
		name := r.str()
		t.topic = b.metadata.topic(viewString(name))
		t.name.from = len(f.names)
		f.names = append(f.names, name...)
		t.name.to = len(f.names)
	}
	for range r.array(16) {
		p := fetchPartition{number: r.int32(), epoch: -1}
		if f.version >= 9 {
			p.epoch = r.int32()
		}
		p.offset = r.int64()
		if f.version >= 12 {
			r.int32() // last fetched epoch: of followers
		}
		if f.version >= 5 {
			r.int64() // log start: of followers
		}
		p.maxBytes = r.int32()
		r.tags(nil)
		if t.topic != nil {
			p.log = t.topic.partition(p.number)
		}
		if p.log == nil {
			p.code = unknown
			f.lsn = b.metadata.lsn()
		}
		f.partitions = append(f.partitions, p)
	}
	r.tags(nil)
	t.parts.to = len(f.partitions)
	f.topics = append(f.topics, t)
}

// decodeForgotten reads the partitions that leave a session.
func (f *fetch) decodeForgotten(r *wireReader) {
	for range r.array(2) {
		var g forgottenPartition
		if f.byID {
			g.id = r.uuid()
		} else {
			name := r.str()
			g.name.from = len(f.names)
			f.names = append(f.names, name...)
			g.name.to = len(f.names)
		}
		n := r.array(4)
		f.forgotten = slices.Grow(f.forgotten, n)
		for range n {
			g.number = r.int32()
			f.forgotten = append(f.forgotten, g)
		}
		r.tags(nil)
	}
}

// The answer is written piece by piece, because records are read from files
// between the pieces; size tells its length beforehand.

// appendFetchHead appends everything before the first topic.
func appendFetchHead(buf []byte, f *fetch, c *call, size int) []byte {
	at := len(buf)
	buf = appendHeader(buf, c.correlation, c.flexible)
	binary.BigEndian.PutUint32(buf[at:], uint32(size-4))
	buf = appendInt32(buf, 0) // throttle time
	if f.version >= 7 {
		buf = appendInt16(buf, f.code)
		buf = appendInt32(buf, f.session)
	}
	return appendArrayLen(buf, f.flexible, len(f.topics))
}

func (f *fetch) appendTopic(buf []byte, t *fetchTopic) []byte {
	if f.byID {
		buf = append(buf, t.id[:]...)
	} else {
		buf = appendString(buf, f.flexible, f.names[t.name.from:t.name.to])
	}
	return appendArrayLen(buf, f.flexible, t.parts.to-t.parts.from)
}

// appendPartition appends all of a partition before the aborted transactions. An
// error tells no marks: out of range neither, and clients ask ListOffsets then.
func (f *fetch) appendPartition(buf []byte, p *fetchPartition) []byte {
	high, stable, start := p.marks.High, p.marks.Stable, p.marks.Start
	if p.code != 0 {
		high, stable, start = -1, -1, -1
	}
	buf = appendInt32(buf, p.number)
	buf = appendInt16(buf, p.code)
	buf = appendInt64(buf, high)
	buf = appendInt64(buf, stable)
	if f.version >= 5 {
		buf = appendInt64(buf, start)
	}
	return buf
}

// appendRecordsHead appends what stands between the aborted transactions and the
// records. Empty records are of length 0: librdkafka takes null for a broken answer.
func (f *fetch) appendRecordsHead(buf []byte, p *fetchPartition) []byte {
	if f.version >= 11 {
		buf = appendInt32(buf, -1) // preferred read replica: none
	}
	if f.flexible {
		return binary.AppendUvarint(buf, uint64(p.extent.Len())+1)
	}
	return appendInt32(buf, int32(p.extent.Len()))
}

// appendAborted appends the aborted transactions: null for read_uncommitted, and as in
// Kafka with an error.
func (f *fetch) appendAborted(buf []byte, p *fetchPartition) []byte {
	buf = f.appendAbortedLen(buf, p)
	for _, t := range p.aborted {
		buf = appendInt64(buf, t.ProducerID)
		buf = appendInt64(buf, t.FirstOffset)
		buf = f.appendTail(buf)
	}
	return buf
}

func (f *fetch) appendAbortedLen(buf []byte, p *fetchPartition) []byte {
	switch {
	case f.committed && p.code == 0:
		return appendArrayLen(buf, f.flexible, len(p.aborted))
	case f.flexible:
		return append(buf, 0)
	}
	return appendInt32(buf, -1)
}

// abortedSize is how many bytes appendAborted appends.
func (f *fetch) abortedSize(p *fetchPartition) int {
	var scratch [16]byte
	one := 16 + len(f.appendTail(scratch[:0]))
	return len(f.appendAbortedLen(scratch[:0], p)) + len(p.aborted)*one
}

func (f *fetch) endPartition(buf []byte) []byte { return f.appendTail(buf) }
func (f *fetch) endTopic(buf []byte) []byte     { return f.appendTail(buf) }

// appendTail ends a structure.
func (f *fetch) appendTail(buf []byte) []byte {
	if f.flexible {
		return append(buf, 0)
	}
	return buf
}

// size is the length of the whole answer, size field and records included.
func (f *fetch) size(c *call) int {
	var scratch [64]byte
	n := len(appendFetchHead(scratch[:0], f, c, 0)) + len(f.appendTail(scratch[:0]))
	for i := range f.topics {
		t := &f.topics[i]
		n += len(t.id) + len(appendArrayLen(scratch[:0], f.flexible, t.parts.to-t.parts.from))
		if !f.byID {
			n += t.name.to - t.name.from - len(t.id) + stringLenBytes(f.flexible, t.name.to-t.name.from)
		}
		for k := t.parts.from; k < t.parts.to; k++ {
			p := &f.partitions[k]
			n += len(f.appendPartition(scratch[:0], p)) + f.abortedSize(p) + len(f.appendRecordsHead(scratch[:0], p))
			n += p.extent.Len() + len(f.endPartition(scratch[:0]))
		}
		n += len(f.endTopic(scratch[:0]))
	}
	return min(n, math.MaxInt32)
}

// stringLenBytes is how many bytes the length of a string takes.
func stringLenBytes(flexible bool, n int) int {
	if !flexible {
		return 2
	}
	var b [binary.MaxVarintLen32]byte
	return binary.PutUvarint(b[:], uint64(n)+1)
}
