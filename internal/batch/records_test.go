package batch

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

func gzipped(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	return written(t, &out, gzip.NewWriter(&out), b)
}

func lz4ed(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	return written(t, &out, lz4.NewWriter(&out), b)
}

func zstded(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	return written(t, &out, w, b)
}

func written(t testing.TB, out *bytes.Buffer, w io.WriteCloser, b []byte) []byte {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// xerial frames b as Java's SnappyOutputStream does, in chunks of 100 bytes.
func xerial(_ testing.TB, b []byte) []byte {
	out := append([]byte{}, xerialMagic...)
	out = append(out, 0, 0, 0, 1, 0, 0, 0, 1)
	for len(b) > 0 {
		n := min(100, len(b))
		chunk := snappy.Encode(nil, b[:n])
		out = binary.BigEndian.AppendUint32(out, uint32(len(chunk)))
		out = append(out, chunk...)
		b = b[n:]
	}
	return out
}

func rawSnappy(_ testing.TB, b []byte) []byte { return snappy.Encode(nil, b) }

var compressions = []struct {
	name     string
	codec    Codec
	compress func(testing.TB, []byte) []byte
}{
	{"gzip", Gzip, gzipped},
	{"snappy raw", Snappy, rawSnappy},
	{"snappy xerial", Snappy, xerial},
	{"lz4", LZ4, lz4ed},
	{"zstd", Zstd, zstded},
}

// packed compresses the records of an uncompressed batch.
func packed(b Batch, codec Codec, payload []byte) Batch {
	out := append(bytes.Clone(b[:HeaderLen]), payload...)
	put32(8, int32(len(out)-lengthStart))(out)
	put16(21, b.Attributes()|int16(codec))(out)
	Batch(out).setCRC()
	return out
}

func sample() Batch {
	return Build(BuildOptions{BaseOffset: 0},
		Record{Timestamp: now, Key: []byte("first"), Value: bytes.Repeat([]byte("abc"), 200)},
		Record{Timestamp: now + 1, Headers: []Header{{"h", []byte("x")}, {"h", nil}}},
		Record{Timestamp: now - 1, Value: []byte("last")})
}

func TestRecordsOfEveryCodec(t *testing.T) {
	plain := sample()
	want := collect(t, plain)
	for _, c := range compressions {
		t.Run(c.name, func(t *testing.T) {
			b := packed(plain, c.codec, c.compress(t, plain[HeaderLen:]))
			if diff := cmp.Diff(want, collect(t, b)); diff != "" {
				t.Fatalf("records differ (-plain +compressed):\n%s", diff)
			}
			opt := kafkaDefaults
			opt.Open = true
			if _, err := Validate(b, opt); err != nil {
				t.Fatalf("validate: %v", err)
			}
		})
	}
}

// TestOpenWalks: with Open, the records inside a compressed batch are held to
// the same rules as plain ones; without, they are not looked at.
func TestOpenWalks(t *testing.T) {
	bad := sample()
	put32(23, 4)(bad) // two records more than there are
	put32(57, 5)(bad)
	for _, c := range compressions {
		b := packed(bad, c.codec, c.compress(t, bad[HeaderLen:]))
		opt := kafkaDefaults
		if _, err := Validate(b, opt); err != nil {
			t.Errorf("%s, closed: %v", c.name, err)
		}
		opt.Open = true
		if _, err := Validate(b, opt); !errors.Is(err, ErrInvalidRecord) {
			t.Errorf("%s, open: %v", c.name, err)
		}
	}
}

// TestHostileCompression is H63, H64 and H71 to H75: what fails while it is
// decompressed, and bombs, which Kafka inflates and weir does not. Memory is
// bounded by the limit and by what the codec keeps.
func TestHostileCompression(t *testing.T) {
	const limit = 1 << 20
	zeros := make([]byte, 32<<20)
	chunk2GiB := append(xerial(t, nil), 0x7f, 0xff, 0xff, 0xff, 1, 2, 3)
	tests := []struct {
		name    string
		codec   Codec
		payload []byte
		want    error
	}{
		{"H63 codec 7", 7, []byte("x"), ErrCodec},
		{"H64 zstd codec, payload is not zstd", Zstd, []byte("this is no frame of zstd"), ErrDecompress},
		{"H71 gzip bomb", Gzip, gzipped(t, zeros), ErrTooLarge},
		{"H72 lz4 bomb", LZ4, lz4ed(t, zeros), ErrTooLarge},
		{"H73 zstd bomb", Zstd, zstded(t, zeros), ErrTooLarge},
		{"H74 xerial snappy, chunk of 2 GiB", Snappy, chunk2GiB, ErrDecompress},
		{"H75 raw snappy announcing 4 GiB", Snappy, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}, ErrDecompress},
		{"snappy bomb", Snappy, rawSnappy(t, zeros), ErrTooLarge},
		{"xerial bomb", Snappy, xerial(t, zeros[:2<<20]), ErrTooLarge},
		{"zstd window of 2 GiB", Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0, 0}, ErrDecompress},
		{"xerial without chunk length", Snappy, append(xerial(t, nil), 0, 0), ErrDecompress},
		{"gzip, nothing", Gzip, nil, ErrDecompress},
		{"snappy, nothing", Snappy, nil, ErrDecompress},
		{"lz4, nothing", LZ4, nil, ErrDecompress},
		{"lz4 legacy frame", LZ4, []byte{0x02, 0x21, 0x4c, 0x18, 0, 0, 0, 0}, ErrDecompress},
		{"gzip cut off", Gzip, gzipped(t, zeros[:1000])[:20], ErrDecompress},
		{"zstd cut off", Zstd, zstded(t, []byte("some text, some text"))[:12], ErrDecompress},
		{"lz4 cut off", LZ4, lz4ed(t, []byte("some text, some text"))[:12], ErrDecompress},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := framed(int16(tt.codec), 1, tt.payload)
			var last error
			got := allocated(func() {
				for _, err := range b.Records(limit) {
					last = err
				}
			})
			if !errors.Is(last, tt.want) {
				t.Fatalf("error is %v, want %v", last, tt.want)
			}
			onlyOneReason(t, last)
			if got > 24<<20 {
				t.Errorf("%d bytes were allocated under a limit of %d", got, limit)
			}
		})
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestOpenLimit(t *testing.T) {
	plain := many(1, 5000)
	b := packed(plain, Gzip, gzipped(t, plain[HeaderLen:]))
	opt := kafkaDefaults
	opt.Open, opt.OpenLimit = true, int64(len(plain)-HeaderLen)
	if _, err := Validate(b, opt); err != nil {
		t.Errorf("exactly the limit: %v", err)
	}
	opt.OpenLimit--
	if _, err := Validate(b, opt); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a byte above: %v", err)
	}
}

func TestRecordsCanBeLeft(t *testing.T) {
	n := 0
	for range sample().Records(1 << 20) {
		n++
		break
	}
	if n != 1 {
		t.Fatalf("%d records", n)
	}
}

// TestRecordsOfACompactedBatch: the cleaner leaves gaps, which are no error for
// readers, and keeps LastOffsetDelta.
func TestRecordsOfACompactedBatch(t *testing.T) {
	payload := []byte{12, 0, 0, 4, 1, 1, 0, 12, 0, 0, 14, 1, 1, 0}
	b := framed(0, 2, payload)
	put32(23, 9)(b)
	b.SetBaseOffset(100)
	var got []int64
	for _, r := range collect(t, b) {
		got = append(got, r.Offset)
	}
	if diff := cmp.Diff([]int64{102, 107}, got); diff != "" {
		t.Fatal(diff)
	}
	if b.NextOffset() != 110 {
		t.Errorf("next offset %d", b.NextOffset())
	}
}

func TestAppendBatch(t *testing.T) {
	b := AppendBatch([]byte("before"), BuildOptions{Control: true}, Record{Timestamp: 3, Key: []byte{0, 0, 0, 1}})
	got, rest, err := Split(b[len("before"):])
	if err != nil || len(rest) != 0 || !got.Control() || got.CheckCRC() != nil {
		t.Fatalf("appended batch: %v, %d bytes behind it", err, len(rest))
	}
}
