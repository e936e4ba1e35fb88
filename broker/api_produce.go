package broker

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/storage"
)

// Produce, key 0, v3–13; decoded and encoded by hand, in place.
//
//	v3   transactional id (KIP-98)       v8   record errors (KIP-467)
//	v5   log start offset (KIP-107)      v9   flexible (KIP-482)
//	v7   zstd (KIP-110)                  v10  current leader, as tagged fields (KIP-951)
//	v11  TRANSACTION_ABORTABLE, v12 partitions join a transaction by themselves (KIP-890)
//	v13  topics by id (KIP-516)
//
// ApiVersions advertises v0, though v0–2 close the connection as in Kafka 4:
// librdkafka before 2.11.1 sends uncompressed when v0 is not in the range.
//
// Each partition is one commit of its own. The answer waits for the sync with
// acks=all, and with a producer id whatever the acks (a power cut must not take
// one batch of a sequence and keep the next); with acks=1 for the write.
//
// Deviations: compressed batches are opened only for compacted topics. A duplicate
// is told a log append time only by topics that have one (Kafka: its largest
// timestamp in any case), and is not counted as appended. Records
// of null are INVALID_RECORD (Kafka 4.3.1 never answers).
//
// Transactional batches: see produce_txn.go.

// produceRequest is a request being served, over the bytes of its body.
type produceRequest struct {
	c             *call
	version       int16
	flexible      bool
	transactional bool
	acks          int16
	nowMillis     int64
	level         storage.Level
	lsn           storage.LSN // the answer waits for it
	failed        bool
	txn           producedTxn
}

// answeredBytes is about how much a partition takes in the answer, while its
// buffer grows: what most errors say is short.
const answeredBytes = 256

var errAcksZero = errors.New("a partition could not be appended with acks=0: closing tells the client")

func (b *Broker) produce(c *call, body []byte) error {
	p := produceRequest{c: c, version: c.version, flexible: c.version >= 9, nowMillis: b.cfg.Now().UnixMilli()}
	r := wireReader{src: body, flexible: p.flexible}
	if id := r.str(); id != nil {
		p.transactional = true
		p.txn.id = id
	}
	p.acks = r.int16()
	r.int32() // timeout: nothing here waits for replicas
	partitions, ok := p.wellFormed(r)
	if !ok {
		return errUndecodable
	}
	if err := c.reserve(int64(partitions) * answeredBytes); err != nil {
		return err
	}
	if p.acks == 1 {
		p.level = storage.Written
	} else {
		p.level = storage.Durable
	}
	if p.transactional {
		b.joinTxn(&p, r, partitions)
	}
	s := c.slot
	s.buf = appendHeader(s.buf[:0], c.correlation, c.flexible)
	b.produceTopics(&p, &r)
	s.buf = appendInt32(s.buf, 0) // throttle time
	if p.flexible {
		s.buf = append(s.buf, 0)
	}
	if p.acks == 0 {
		s.silent = true
		if p.failed {
			return errAcksZero
		}
		return nil
	}
	c.finish(p.lsn, p.level)
	return nil
}

// wellFormed goes over the whole request before anything of it is done: what
// cannot be parsed has no effect. It counts the partitions.
func (p *produceRequest) wellFormed(r wireReader) (partitions int, ok bool) {
	for range r.array(p.topicBytes()) {
		p.topicKey(&r)
		for range r.array(5) {
			partitions++
			r.int32()
			r.bytes()
			r.tags(nil)
		}
		r.tags(nil)
	}
	r.tags(nil)
	return partitions, !r.bad
}

// topicBytes is the least that a topic takes in a request.
func (p *produceRequest) topicBytes() int {
	if p.version >= 13 {
		return 17
	}
	return 2
}

// topicKey reads a topic's name, or its id from v13 on.
func (p *produceRequest) topicKey(r *wireReader) (name []byte, id [16]byte) {
	if p.version >= 13 {
		return nil, r.uuid()
	}
	return r.str(), id
}

func (b *Broker) produceTopics(p *produceRequest, r *wireReader) {
	s := p.c.slot
	topics := r.array(p.topicBytes())
	s.buf = appendArrayLen(s.buf, p.flexible, topics)
	for range topics {
		name, id := p.topicKey(r)
		var t *topic
		if p.version >= 13 {
			t = b.metadata.topicByID(id)
			s.buf = append(s.buf, id[:]...)
		} else {
			t = b.metadata.topic(viewString(name))
			s.buf = appendString(s.buf, p.flexible, name)
		}
		partitions := r.array(5)
		s.buf = appendArrayLen(s.buf, p.flexible, partitions)
		for range partitions {
			n := r.int32()
			records := r.bytes()
			r.tags(nil)
			b.producePartition(p, t, n, records)
		}
		r.tags(nil)
		if p.flexible {
			s.buf = append(s.buf, 0)
		}
	}
	r.tags(nil)
}

// viewString is b as a string without a copy, for lookups only.
func viewString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// produced is what the answer says of one partition.
type produced struct {
	err        error
	base       int64
	appendTime int64
	start      int64
}

func (b *Broker) producePartition(p *produceRequest, t *topic, n int32, records []byte) {
	out := produced{base: -1, appendTime: -1, start: -1}
	if out.err = b.appendBatch(p, t, n, records, &out); out.err != nil {
		p.failed = true
		b.metrics.failed(kmsg.Produce, codeOf(out.err))
	}
	p.encode(n, &out)
}

// appendBatch checks and appends what a partition was sent.
func (b *Broker) appendBatch(p *produceRequest, t *topic, n int32, records []byte, out *produced) error {
	if p.acks < -1 || p.acks > 1 {
		return refuse(kerr.InvalidRequiredAcks, fmt.Sprintf("acks is %d, must be -1, 0 or 1", p.acks))
	}
	var log *storage.Partition
	if t != nil {
		log = t.partition(n)
	}
	if log == nil {
		p.tell(b.metadata.lsn())
		return p.noPartition(t)
	}
	if t.Internal {
		p.tell(b.metadata.lsn())
		return refuse(kerr.InvalidTopicException, "clients may not write to internal topics")
	}
	batchView, err := p.validate(t, records, out)
	if err != nil {
		return err
	}
	if batchView.ProducerID() >= 0 {
		// Before the commit: its refusal speaks of the batches before it.
		p.level = storage.Durable
	}
	commit := &p.c.conn.commit
	commit[0] = storage.Append{Partition: log, Batches: batchView}
	if batchView.Transactional() {
		if err := p.mayJoin(t, n); err != nil {
			commit[0] = storage.Append{}
			return err
		}
		commit[0].Guard = b.txns.open
	}
	lsn, err := b.store.Commit(p.c.ctx, commit[:])
	base, duplicate := commit[0].Base, commit[0].Duplicate
	commit[0] = storage.Append{} // an idle connection must not keep its last request
	if err != nil {
		p.lsn = max(p.lsn, log.LastLSN())
		if errors.Is(err, storage.ErrDeleted) {
			p.tell(b.metadata.lsn())
		}
		return err
	}
	p.lsn = max(p.lsn, lsn)
	out.base = base
	if p.version >= 5 {
		out.start = log.Offsets().Start
	}
	if !duplicate {
		t.metrics.produced(batchView)
	} else if t.config.LogAppendTime {
		out.appendTime = log.AppendTime(base)
	}
	return nil
}

// tell has the answer wait until lsn is durable, whatever the acks: it says which
// topics there are, and that must not be taken back.
func (p *produceRequest) tell(lsn storage.LSN) {
	p.lsn, p.level = max(p.lsn, lsn), storage.Durable
}

func (p *produceRequest) noPartition(t *topic) error {
	if p.version >= 13 && t == nil {
		return refuse(kerr.UnknownTopicID, "")
	}
	return refuse(kerr.UnknownTopicOrPartition, "")
}

// validate checks a batch by the rules of its topic and stamps the time where
// the topic wants the broker's.
func (p *produceRequest) validate(t *topic, records []byte, out *produced) (batch.Batch, error) {
	opt := batch.Options{
		MaxBytes: t.config.MaxMessageBytes, NoZstd: p.version < 7,
		KeyRequired: t.config.Compact, Open: t.config.Compact,
	}
	if !t.config.LogAppendTime {
		opt.NowMillis = p.nowMillis
		opt.BeforeMaxMillis, opt.AfterMaxMillis = t.config.TimestampBeforeMaxMillis, t.config.TimestampAfterMaxMillis
	}
	v, err := batch.Validate(records, opt)
	if err != nil {
		return nil, err
	}
	if v.Transactional() && !p.transactional {
		return nil, refuse(kerr.TransactionalIDAuthorizationFailed, "transactional batch without a transactional id")
	}
	if t.config.LogAppendTime {
		v.SetLogAppendTime(p.nowMillis)
		out.appendTime = p.nowMillis
	}
	return v, nil
}

// encode appends what the answer says of one partition.
func (p *produceRequest) encode(n int32, out *produced) {
	s := p.c.slot
	buf := appendInt32(s.buf, n)
	code := codeOf(out.err)
	if code == kerr.KafkaStorageError.Code && p.version == 3 {
		code = kerr.NotLeaderForPartition.Code // v3 does not know the other
	}
	if code == kerr.UnknownTopicOrPartition.Code && p.version >= 13 && errors.Is(out.err, storage.ErrDeleted) {
		code = kerr.UnknownTopicID.Code
	}
	if code == 0 && p.acks != 0 {
		s.acked = append(s.acked, len(buf))
	}
	buf = appendInt16(buf, code)
	buf = appendInt64(buf, out.base)
	buf = appendInt64(buf, out.appendTime)
	if p.version >= 5 {
		buf = appendInt64(buf, out.start)
	}
	if p.version >= 8 {
		buf = appendArrayLen(buf, p.flexible, 0)
		message := ""
		if out.err != nil {
			message = out.err.Error()
		}
		buf = appendNullableString(buf, p.flexible, truncate(message, maxMessage))
	}
	if p.flexible {
		buf = append(buf, 0)
	}
	s.buf = buf
}

// maxMessage is the longest error message in an answer, in bytes.
const maxMessage = 500

func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n]
}

// failProduced rewrites an answer whose records turned out not to be durable.
func (s *slot) failProduced() {
	code := kerr.KafkaStorageError.Code
	if s.call.version == 3 {
		code = kerr.NotLeaderForPartition.Code
	}
	for _, at := range s.acked {
		fields := appendInt16(s.buf[at:at], code)
		fields = appendInt64(fields, -1) // base offset
		appendInt64(fields, -1)          // log append time
	}
}
