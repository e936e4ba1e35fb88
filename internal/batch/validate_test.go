package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

const (
	now  = int64(1_700_000_000_000)
	year = int64(365 * 24 * 3600 * 1000)
)

// kafkaDefaults are the rules of a topic without settings of its own.
var kafkaDefaults = Options{
	MaxBytes: 1048588, NowMillis: now,
	BeforeMaxMillis: math.MaxInt64, AfterMaxMillis: 3600000,
}

func put16(at int, v int16) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint16(b[at:], uint16(v)) }
}

func put32(at int, v int32) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
}

func put64(at int, v int64) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint64(b[at:], uint64(v)) }
}

// changed builds a good batch of one record, lets each change spoil it, and
// renews the checksum, so that only the change can be the reason of a refusal.
func changed(changes ...func(Batch)) []byte {
	b := Build(BuildOptions{}, Record{Timestamp: now, Key: []byte("key"), Value: []byte("value")})
	for _, change := range changes {
		change(b)
	}
	b.setCRC()
	return b
}

// framed builds a batch with the given bytes as its records.
func framed(attributes int16, count int32, payload []byte) Batch {
	b := Build(BuildOptions{}, Record{Timestamp: now})
	b = append(b[:HeaderLen:HeaderLen], payload...)
	put32(8, int32(len(b)-lengthStart))(b)
	put16(21, attributes)(b)
	put32(23, count-1)(b)
	put32(57, count)(b)
	b.setCRC()
	return b
}

// TestHostileProduce is the produce section of what Apache Kafka 4.3.1 answers
// to hostile input, as far as the batch alone decides it. Where weir differs
// the name says so.
func TestHostileProduce(t *testing.T) {
	two := append(changed(), changed()...)
	badCRC := changed()
	badCRC[17] ^= 1
	// A record of 20 bytes whose key announces 2^31 bytes.
	hugeKey := append([]byte{40, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x10}, make([]byte, 12)...)
	tests := []struct {
		name    string
		records []byte
		want    error
	}{
		{"H43 a good batch", changed(), nil},
		{"H44 wrong CRC", badCRC, ErrCorrupt},
		{"H45 magic 0", changed(func(b Batch) { b[16] = 0 }), ErrInvalidRecord},
		{"H46 magic 1", changed(func(b Batch) { b[16] = 1 }), ErrInvalidRecord},
		{"H47 magic 3", changed(func(b Batch) { b[16] = 3 }), ErrCorrupt},
		{"H48 magic -1", changed(func(b Batch) { b[16] = 0xff }), ErrCorrupt},
		{"H49 batch length beyond the records field", changed(put32(8, 100_000)), ErrInvalidRecord},
		{"H50 batch length -1", changed(put32(8, -1)), ErrCorrupt},
		{"H51 batch length 3", changed(put32(8, 3)), ErrCorrupt},
		{"H52 record count 2^31-1 with one record", changed(put32(57, math.MaxInt32)), ErrInvalidRecord},
		{"H52 and a last offset delta that fits", changed(put32(57, math.MaxInt32), put32(23, math.MaxInt32-1)), ErrInvalidRecord},
		{"H53 record count -1", changed(put32(57, -1)), ErrInvalidRecord},
		{"H54 last offset delta does not fit the count", changed(put32(23, 5)), ErrInvalidRecord},
		{"H55 last offset delta negative", changed(put32(23, -1)), ErrInvalidRecord},
		{"H56 zero records", framed(0, 0, nil), ErrInvalidRecord},
		{"H56 zero records, last offset delta 0", changed(put32(57, 0)), ErrInvalidRecord},
		{"H57 record length beyond the batch", changed(func(b Batch) { b[HeaderLen] = 0x7e }), ErrInvalidRecord},
		{"H57 record length one byte beyond the batch", changed(func(b Batch) { b[HeaderLen] += 2 }), ErrInvalidRecord},
		{"H58 key length 2^31 inside a record", framed(0, 1, hugeKey), ErrInvalidRecord},
		{"H59 client sets the control bit", changed(put16(21, attrControl)), ErrInvalidRecord},
		{"H60 transactional, for the broker to judge", changed(put16(21, attrTransactional), put64(43, 9), put16(51, 0), put32(53, 0)), nil},
		{"H61 first sequence 77", changed(put64(43, 9), put16(51, 0), put32(53, 77)), nil},
		{"H62 producer id set, sequence -1", changed(put64(43, 9), put16(51, 0)), ErrInvalidRecord},
		{"H63 compression codec 7", changed(put16(21, 7)), ErrCodec},
		{"H65 two batches in one partition entry", two, ErrInvalidRecord},
		{"H66 timestamp 100 years ahead", changed(put64(27, now+100*year), put64(35, now+100*year)), ErrTimestamp},
		{"H67 2 MiB record", Build(BuildOptions{}, Record{Timestamp: now, Value: make([]byte, 2<<20)}), ErrTooLarge},
		{"H69 null records", nil, ErrInvalidRecord},
		{"H69 empty records", []byte{}, ErrInvalidRecord},
		{"H70 12 stray bytes as records", make([]byte, 12), ErrCorrupt},
		{"H70 60 stray bytes with magic 2", changed()[:60], ErrCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Validate(tt.records, kafkaDefaults)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error is %v, want %v", err, tt.want)
			}
			if err == nil && !bytes.Equal(b, tt.records) {
				t.Fatal("the batch is not the bytes given")
			}
			if err != nil && b != nil {
				t.Fatal("a refused batch was returned")
			}
			onlyOneReason(t, err)
		})
	}
}

// onlyOneReason fails if an error would map to two of Kafka's codes.
func onlyOneReason(t *testing.T, err error) {
	t.Helper()
	n := 0
	for _, reason := range []error{ErrCorrupt, ErrInvalidRecord, ErrTruncated, ErrTooLarge, ErrTimestamp,
		ErrUnsupportedCompression, ErrCodec, ErrDecompress} {
		if errors.Is(err, reason) {
			n++
		}
	}
	if err != nil && n != 1 {
		t.Fatalf("error %v has %d reasons, want one", err, n)
	}
}

func TestValidateHeaderRules(t *testing.T) {
	tests := []struct {
		name    string
		records []byte
		opt     func(*Options)
		want    error
	}{
		{"base offset is not 0", changed(put64(0, 5)), nil, ErrInvalidRecord},
		{"leader epoch may be anything", changed(put32(12, 77)), nil, nil},
		{"producer id with epoch -1", changed(put64(43, 9), put32(53, 0)), nil, ErrInvalidRecord},
		{"transactional without producer id", changed(put16(21, attrTransactional)), nil, ErrInvalidRecord},
		{"LogAppendTime set by the client", changed(put16(21, attrLogAppendTime)), nil, ErrTimestamp},
		{"zstd in an old Produce", changed(put16(21, int16(Zstd))), func(o *Options) { o.NoZstd = true }, ErrUnsupportedCompression},
		{"exactly max.message.bytes", changed(), func(o *Options) { o.MaxBytes = len(changed()) }, nil},
		{"one byte above max.message.bytes", changed(), func(o *Options) { o.MaxBytes = len(changed()) - 1 }, ErrTooLarge},
		{"no limit", changed(), func(o *Options) { o.MaxBytes = 0 }, nil},
		{"too old", changed(put64(27, now-1001)), func(o *Options) { o.BeforeMaxMillis = 1000 }, ErrTimestamp},
		{"just young enough", changed(put64(27, now-1000)), func(o *Options) { o.BeforeMaxMillis = 1000 }, nil},
		{"just early enough", changed(put64(27, now+3600000)), nil, nil},
		{"one ms too far ahead", changed(put64(27, now+3600001)), nil, ErrTimestamp},
		{"no timestamp is never too old", changed(put64(27, -1)), func(o *Options) { o.BeforeMaxMillis = 1000 }, nil},
		{"the difference overflows", changed(put64(27, math.MinInt64)), func(o *Options) { o.BeforeMaxMillis = math.MaxInt64 - 1 }, ErrTimestamp},
		{"closed compressed batch: first record too old", changed(put16(21, int16(Gzip)), put64(27, now-1001)),
			func(o *Options) { o.BeforeMaxMillis = 1000 }, ErrTimestamp},
		{"log append time: not compared", changed(put64(27, 5)), func(o *Options) { o.BeforeMaxMillis, o.NowMillis = 1000, 0 }, nil},
		{"closed compressed batch: header too far ahead", framedAt(now + 3600001), nil, ErrTimestamp},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opt := kafkaDefaults
			if tt.opt != nil {
				tt.opt(&opt)
			}
			_, err := Validate(tt.records, opt)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error is %v, want %v", err, tt.want)
			}
			onlyOneReason(t, err)
		})
	}
}

// framedAt is a gzip batch that nobody opens, with a largest timestamp.
func framedAt(millis int64) []byte {
	b := framed(int16(Gzip), 1, []byte("not opened"))
	put64(35, millis)(b)
	b.setCRC()
	return b
}

func TestValidateCorrectsMaxTimestamp(t *testing.T) {
	b := Build(BuildOptions{}, Record{Timestamp: now}, Record{Timestamp: now + 70}, Record{Timestamp: now + 20})
	put64(35, now+1_000_000)(b)
	b.setCRC()
	got, err := Validate(b, kafkaDefaults)
	if err != nil {
		t.Fatal(err)
	}
	if got.MaxTimestamp() != now+70 {
		t.Errorf("max timestamp is now%+d, want now+70", got.MaxTimestamp()-now)
	}
	if err := got.CheckCRC(); err != nil {
		t.Error(err)
	}
}

func TestSetLogAppendTime(t *testing.T) {
	b := Build(BuildOptions{}, Record{Timestamp: 1}, Record{Timestamp: 2})
	b.SetLogAppendTime(now)
	if err := b.CheckCRC(); err != nil {
		t.Fatal(err)
	}
	if !b.LogAppendTime() || b.MaxTimestamp() != now || b.BaseTimestamp() != 1 {
		t.Fatalf("header: append time %v, max %d, base %d", b.LogAppendTime(), b.MaxTimestamp(), b.BaseTimestamp())
	}
	for _, r := range collect(t, b) {
		if r.Timestamp != now {
			t.Errorf("record %d has time %d, want the broker's", r.Offset, r.Timestamp)
		}
	}
}

func TestStampsLieOutsideTheChecksum(t *testing.T) {
	b := Batch(changed())
	b.SetBaseOffset(1 << 40)
	b.SetLeaderEpoch(12)
	if err := b.CheckCRC(); err != nil {
		t.Fatal(err)
	}
	if b.BaseOffset() != 1<<40 || b.LeaderEpoch() != 12 {
		t.Fatalf("stamped %d and %d", b.BaseOffset(), b.LeaderEpoch())
	}
}

// TestTimestampDifferences: a difference that does not fit 64 bits is the
// largest there is, not one of the other sign.
func TestTimestampDifferences(t *testing.T) {
	for _, tt := range []struct{ a, b, want int64 }{
		{5, 3, 2}, {3, 5, -2}, {now, math.MinInt64, math.MaxInt64}, {math.MinInt64, now, math.MinInt64},
		{math.MaxInt64, -1, math.MaxInt64}, {-2, math.MaxInt64, math.MinInt64},
	} {
		if got := minus(tt.a, tt.b); got != tt.want {
			t.Errorf("%d less %d is %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// TestAttributes pins the bits, which no other test spells out.
func TestAttributes(t *testing.T) {
	for bits, want := range map[int16]string{0x0: "none", 0x1: "gzip", 0x2: "snappy", 0x3: "lz4", 0x4: "zstd", 0x7: "codec 7",
		0x8: "none append-time", 0x10: "none transactional", 0x20: "none control", 0x3b: "lz4 append-time transactional control"} {
		b := Batch(changed(put16(21, bits)))
		got := b.Codec().String()
		for _, flag := range []struct {
			set  bool
			name string
		}{{b.LogAppendTime(), " append-time"}, {b.Transactional(), " transactional"}, {b.Control(), " control"}} {
			if flag.set {
				got += flag.name
			}
		}
		if got != want {
			t.Errorf("attributes %#x are %q, want %q", bits, got, want)
		}
	}
}

func TestKeyRequired(t *testing.T) {
	opt := kafkaDefaults
	opt.KeyRequired = true
	if _, err := Validate(changed(), opt); err != nil {
		t.Errorf("record with key: %v", err)
	}
	b := Build(BuildOptions{}, Record{Timestamp: now, Key: []byte{}}, Record{Timestamp: now, Value: []byte("v")})
	if _, err := Validate(b, opt); !errors.Is(err, ErrInvalidRecord) {
		t.Errorf("record without key: %v", err)
	}
}

func TestSplit(t *testing.T) {
	one, two := changed(), changed(put32(12, 3))
	b, rest, err := Split(append(bytes.Clone(one), two...))
	if err != nil || !bytes.Equal(b, one) || !bytes.Equal(rest, two) {
		t.Fatalf("split: %d and %d bytes, %v", len(b), len(rest), err)
	}
	if cap(b) != len(b) {
		t.Error("appending to the batch would overwrite the next one")
	}
	if _, _, err := Split(one[:len(one)-1]); !errors.Is(err, ErrTruncated) {
		t.Errorf("torn end: %v", err)
	}
	for n := range HeaderLen {
		if _, _, err := Split(one[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
