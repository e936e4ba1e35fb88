package batch

import (
	"bytes"
	"testing"
)

func TestValidateDoesNotAllocate(t *testing.T) {
	for _, b := range [][]byte{changed(), many(256, 1024)} {
		opt := kafkaDefaults
		if n := testing.AllocsPerRun(100, func() {
			if _, err := Validate(b, opt); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%d bytes: %v allocations", len(b), n)
		}
	}
}

// many builds a batch of n records with values of size bytes.
func many(n, size int) []byte {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{Timestamp: now, Key: []byte("a key"), Value: bytes.Repeat([]byte{byte(i)}, size)}
	}
	return Build(BuildOptions{}, records...)
}

func BenchmarkValidate(b *testing.B) {
	for _, bb := range []struct {
		name    string
		records []byte
	}{{"1x1KiB", many(1, 1024)}, {"256x1KiB", many(256, 1024)}, {"1000x100B", many(1000, 100)}} {
		b.Run(bb.name+"/whole", func(b *testing.B) {
			opt := kafkaDefaults
			b.SetBytes(int64(len(bb.records)))
			for b.Loop() {
				if _, err := Validate(bb.records, opt); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bb.name+"/crc", func(b *testing.B) {
			b.SetBytes(int64(len(bb.records)))
			for b.Loop() {
				if err := Batch(bb.records).CheckCRC(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
