package batch

import (
	"errors"
	"fmt"
	"math"
)

// Options are the rules of a topic for Validate.
type Options struct {
	MaxBytes int // max.message.bytes: the whole batch with its header; 0: no limit

	// NowMillis is the broker's clock; 0 leaves timestamps unchecked, as for
	// topics with message.timestamp.type=LogAppendTime.
	NowMillis       int64
	BeforeMaxMillis int64 // message.timestamp.before.max.ms
	AfterMaxMillis  int64 // message.timestamp.after.max.ms

	NoZstd      bool // the request is older than zstd (Produce before version 7)
	KeyRequired bool // compacted topic: a record without key is refused (KIP-87)

	// Open has compressed records decompressed and walked too. OpenLimit bounds
	// what they decompress to, in bytes; 0 means 64 MiB.
	Open      bool
	OpenLimit int64
}

const defaultOpenLimit = 64 << 20

// Validate checks the records field of one partition in a Produce request by
// the rules of Apache Kafka for clients, and returns the one batch in it. The
// result is a view into records. If the header's largest timestamp is not that
// of the records, it is corrected in place, as Kafka does.
//
// The order of checks is Kafka's, because a batch may break several rules.
// Uncompressed records are walked; compressed ones only with Options.Open.
// Nothing is allocated for a good uncompressed batch.
func Validate(records []byte, opt Options) (Batch, error) {
	b, err := single(records)
	if err != nil {
		return nil, err
	}
	if opt.NoZstd && b.Codec() == Zstd {
		return nil, fmt.Errorf("%w: zstd needs Produce version 7 or later", ErrUnsupportedCompression)
	}
	if b.BaseOffset() != 0 {
		return nil, fmt.Errorf("%w: base offset is %d, a producer's must be 0", ErrInvalidRecord, b.BaseOffset())
	}
	if opt.MaxBytes > 0 && len(b) > opt.MaxBytes {
		return nil, fmt.Errorf("%w: batch of %d bytes, max.message.bytes is %d", ErrTooLarge, len(b), opt.MaxBytes)
	}
	if err := b.CheckCRC(); err != nil {
		return nil, err
	}
	if err := b.checkHeader(); err != nil {
		return nil, err
	}
	if err := b.checkRecords(&opt); err != nil {
		return nil, err
	}
	return b, nil
}

// single finds the one batch that a Produce request may hold for a partition.
func single(records []byte) (Batch, error) {
	if len(records) == 0 {
		return nil, fmt.Errorf("%w: no record batch", ErrInvalidRecord)
	}
	b, rest, err := Split(records)
	if errors.Is(err, ErrTruncated) {
		return nil, fmt.Errorf("%w: the length field goes beyond the %d bytes sent", ErrInvalidRecord, len(records))
	}
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: %d bytes follow the batch, exactly one is allowed", ErrInvalidRecord, len(rest))
	}
	return b, nil
}

// checkHeader holds what Kafka's LogValidator demands of a client's header.
func (b Batch) checkHeader() error {
	count, last := b.Count(), b.LastOffsetDelta()
	switch {
	case last < 0:
		return fmt.Errorf("%w: last offset delta is %d", ErrInvalidRecord, last)
	case count <= 0:
		return fmt.Errorf("%w: record count is %d", ErrInvalidRecord, count)
	case int64(count) != int64(last)+1:
		return fmt.Errorf("%w: record count is %d, last offset delta %d", ErrInvalidRecord, count, last)
	case b.Control():
		return fmt.Errorf("%w: the control bit is for brokers", ErrInvalidRecord)
	case b.ProducerID() >= 0 && b.BaseSequence() < 0:
		return fmt.Errorf("%w: producer id %d with sequence %d", ErrInvalidRecord, b.ProducerID(), b.BaseSequence())
	case b.ProducerID() >= 0 && b.ProducerEpoch() < 0:
		return fmt.Errorf("%w: producer id %d with epoch %d", ErrInvalidRecord, b.ProducerID(), b.ProducerEpoch())
	case b.ProducerID() < 0 && b.Transactional():
		return fmt.Errorf("%w: transactional batch without producer id", ErrInvalidRecord)
	case b.Codec() > Zstd:
		return fmt.Errorf("%w: %d", ErrCodec, b.Codec())
	case b.LogAppendTime():
		return fmt.Errorf("%w: the timestamp type LogAppendTime is for brokers", ErrTimestamp)
	}
	return nil
}

// checkRecords walks the records, or only compares the header's timestamps when
// they are compressed and stay closed.
func (b Batch) checkRecords(opt *Options) error {
	payload := []byte(b[HeaderLen:])
	if b.Codec() != None {
		if !opt.Open {
			return b.checkClosedTimes(opt)
		}
		limit := opt.OpenLimit
		if limit == 0 {
			limit = defaultOpenLimit
		}
		var err error
		if payload, err = decompress(b.Codec(), payload, limit); err != nil {
			return err
		}
	}
	largest, err := b.walk(payload, opt)
	if err != nil {
		return err
	}
	if largest != b.MaxTimestamp() {
		b.setMaxTimestamp(largest)
	}
	return nil
}

func (b Batch) checkClosedTimes(opt *Options) error {
	if err := opt.checkTime(b.BaseTimestamp()); err != nil {
		return err
	}
	return opt.checkTime(b.MaxTimestamp())
}

// walk goes over the framing of all records and returns the largest timestamp.
func (b Batch) walk(payload []byte, opt *Options) (int64, error) {
	var f framing
	base, count := b.BaseTimestamp(), int64(b.Count())
	largest := int64(noTimestamp)
	for k := range count {
		n, err := f.parse(payload)
		if err != nil {
			return 0, fmt.Errorf("record %d of %d: %w", k, count, err)
		}
		if f.offsetDelta != k {
			return 0, fmt.Errorf("%w: record %d of %d has offset delta %d", ErrInvalidRecord, k, count, f.offsetDelta)
		}
		if opt.KeyRequired && f.keyStart < 0 {
			return 0, fmt.Errorf("%w: record %d of %d has no key, a compacted topic needs one", ErrInvalidRecord, k, count)
		}
		timestamp := base + f.timestampDelta
		if opt.NowMillis != 0 {
			if err := opt.checkTime(timestamp); err != nil {
				return 0, fmt.Errorf("record %d of %d: %w", k, count, err)
			}
		}
		largest = max(largest, timestamp)
		payload = payload[n:]
	}
	if len(payload) > 0 {
		return 0, fmt.Errorf("%w: %d bytes follow the last record", ErrInvalidRecord, len(payload))
	}
	return largest, nil
}

// noTimestamp is what a producer writes that knows no time.
const noTimestamp = -1

// checkTime compares one timestamp with the topic's bounds (KIP-937).
func (opt *Options) checkTime(timestamp int64) error {
	if opt.NowMillis == 0 || timestamp == noTimestamp {
		return nil
	}
	if late := minus(timestamp, opt.NowMillis); late > opt.AfterMaxMillis {
		return fmt.Errorf("%w: %d is %d ms ahead of the broker, message.timestamp.after.max.ms is %d",
			ErrTimestamp, timestamp, late, opt.AfterMaxMillis)
	}
	if old := minus(opt.NowMillis, timestamp); old > opt.BeforeMaxMillis {
		return fmt.Errorf("%w: %d is %d ms behind the broker, message.timestamp.before.max.ms is %d",
			ErrTimestamp, timestamp, old, opt.BeforeMaxMillis)
	}
	return nil
}

// minus is a-b, held at the ends of int64 instead of wrapping around.
func minus(a, b int64) int64 {
	switch d := a - b; {
	case a > b && d < 0:
		return math.MaxInt64
	case a < b && d > 0:
		return math.MinInt64
	default:
		return d
	}
}
