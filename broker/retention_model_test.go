package broker_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
)

// TestDeleteRecordsAgainstModel produces, deletes, restarts, kills and cuts the
// power at random. Whatever was answered holds: the log begins where it was
// told, ends where it was told, and each record in between is there.
func TestDeleteRecordsAgainstModel(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 21))
			b := brokertest.Start(t)
			createTopic(t, b, "log", 1, "segment.bytes", "1048576", "file.delete.delay.ms", "0")
			m := deletions{t: t, b: b, rng: rng, c: dial(t, b)}
			for range 60 {
				m.step()
			}
			m.check()
		})
	}
}

// deletions is one log as the answers told of it.
type deletions struct {
	t     *testing.T
	b     *brokertest.Broker
	rng   *rand.Rand
	c     *rawConn
	start int64
	sizes []int // of the values, by offset
}

func (m *deletions) step() {
	end := int64(len(m.sizes))
	switch d := m.rng.IntN(20); {
	case d < 12:
		m.produce()
	case d < 17:
		asked, want := m.rng.Int64N(end+3), int16(0)
		if asked > end {
			want = kerr.OffsetOutOfRange.Code
		} else {
			m.start = max(m.start, asked)
		}
		p := deleteRecords(m.c, int16(m.rng.IntN(3)), "log", 0, asked)
		if p.ErrorCode != want || want == 0 && p.LowWatermark != m.start {
			m.t.Fatalf("delete below %d of [%d, %d): code %d, low watermark %d", asked, m.start, end, p.ErrorCode, p.LowWatermark)
		}
	default:
		switch m.rng.IntN(3) {
		case 0:
			m.b.Restart()
		case 1:
			m.b.Kill()
		case 2:
			m.b.Crash(m.rng.Uint64())
		}
		m.c = dial(m.t, m.b)
		m.check()
	}
}

// produce sends a batch of up to 300 kB, so that there are segments.
func (m *deletions) produce() {
	var rs []batch.Record
	for range 1 + m.rng.IntN(3) {
		size := m.rng.IntN(100_000)
		rs = append(rs, batch.Record{Timestamp: 1, Value: bytes.Repeat([]byte{byte(size)}, size)})
		m.sizes = append(m.sizes, size)
	}
	b := batch.Build(batch.BuildOptions{}, rs...)
	if p := produced(ask[*kmsg.ProduceResponse](m.c, produceRequest(9, -1, "log", 0, b))); p.ErrorCode != 0 || p.BaseOffset != int64(len(m.sizes)-len(rs)) {
		m.t.Fatalf("produce: code %d, offset %d", p.ErrorCode, p.BaseOffset)
	}
}

func (m *deletions) check() {
	m.t.Helper()
	end := int64(len(m.sizes))
	if start, last := listed(m.c, "log", -2).Offset, listed(m.c, "log", -1).Offset; start != m.start || last != end {
		m.t.Fatalf("the log is [%d, %d), want [%d, %d)", start, last, m.start, end)
	}
	if m.start > 0 {
		if p := fetched(ask[*kmsg.FetchResponse](m.c, fetchRequest(11, "log", 0, m.start-1))); p.ErrorCode != kerr.OffsetOutOfRange.Code {
			m.t.Fatalf("fetch below the start: code %d", p.ErrorCode)
		}
	}
	for at := m.start; at < end; {
		p := fetched(ask[*kmsg.FetchResponse](m.c, fetchRequest(11, "log", 0, at)))
		if p.ErrorCode != 0 || p.LogStartOffset != m.start || len(p.RecordBatches) == 0 {
			m.t.Fatalf("fetch at %d: code %d, log start %d, %d bytes", at, p.ErrorCode, p.LogStartOffset, len(p.RecordBatches))
		}
		for rest := p.RecordBatches; len(rest) > 0; {
			one, more, err := batch.Split(rest)
			if err != nil {
				break // the answer's limit cut it
			}
			rest = more
			for r, err := range one.Records(1 << 20) {
				if err != nil {
					m.t.Fatal(err)
				}
				if r.Offset >= at && len(r.Value) != m.sizes[r.Offset] {
					m.t.Fatalf("the record at %d has %d bytes, not %d", r.Offset, len(r.Value), m.sizes[r.Offset])
				}
			}
			at = one.NextOffset()
		}
	}
}
