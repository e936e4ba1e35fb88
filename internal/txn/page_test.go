package txn

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// pageRecord is a record as doc/format/transaction-topic.md has it.
type pageRecord struct {
	id           string
	pid          int64
	epoch        int16
	timeout      int32
	state        int8
	partitions   []string
	updated      int64
	started      int64
	previous     int64
	protocol     int16
	otherTagged  int
	bytesAreLeft int
}

// pageBytes takes a record apart from its start.
type pageBytes struct{ b []byte }

func (p *pageBytes) take(n int) []byte {
	out := p.b[:n]
	p.b = p.b[n:]
	return out
}

func (p *pageBytes) i16() int16 { return int16(binary.BigEndian.Uint16(p.take(2))) }
func (p *pageBytes) i32() int32 { return int32(binary.BigEndian.Uint32(p.take(4))) }
func (p *pageBytes) i64() int64 { return int64(binary.BigEndian.Uint64(p.take(8))) }

func (p *pageBytes) uvarint() int {
	v, n := binary.Uvarint(p.b)
	p.take(n)
	return int(v)
}

// readPage reads a record by the page alone.
func readPage(r Record) (out pageRecord, err error) {
	key, v := pageBytes{r.Key}, pageBytes{r.Value}
	if version := key.i16(); version != 0 {
		return out, fmt.Errorf("key of version %d", version)
	}
	out.id = string(key.take(int(key.i16())))
	if version := v.i16(); version != 1 {
		return out, fmt.Errorf("value of version %d", version)
	}
	out.pid, out.epoch, out.timeout, out.state = v.i64(), v.i16(), v.i32(), int8(v.take(1)[0])
	for range v.uvarint() - 1 {
		name := string(v.take(v.uvarint() - 1))
		for range v.uvarint() - 1 {
			out.partitions = append(out.partitions, fmt.Sprint(name, "-", v.i32()))
		}
		if n := v.uvarint(); n != 0 {
			return out, fmt.Errorf("%d tagged fields of a topic", n)
		}
	}
	out.updated, out.started, out.previous = v.i64(), v.i64(), -1
	for range v.uvarint() {
		switch tag, n := v.uvarint(), v.uvarint(); {
		case tag == 0 && n == 8:
			out.previous = v.i64()
		case tag == 2 && n == 2:
			out.protocol = v.i16()
		default:
			v.take(n)
			out.otherTagged++
		}
	}
	out.bytesAreLeft = len(key.b) + len(v.b)
	return out, nil
}

// TestTransactionPage: doc/format/transaction-topic.md is enough to read the records, and
// what is written by it is read.
func TestTransactionPage(t *testing.T) {
	next := int64(100)
	core := New(Config{NewProducerID: func() int64 { next++; return next }})
	now := time.UnixMilli(1_700_000_000_000)
	id := "order"
	init := kmsg.NewPtrInitProducerIDRequest()
	init.Version, init.TransactionalID, init.TransactionTimeoutMillis = 5, &id, 30_000
	core.InitProducerID(now, init)
	core.ids[id].epoch = lastEpoch
	core.AddPartitions(now.Add(time.Second), Sender{id, 101, lastEpoch}, []Partition{{Topic: "u", Number: 7}, {Topic: "t", Number: 1}, {Topic: "t", Number: 0}}, 2)
	end := kmsg.NewPtrEndTxnRequest()
	end.Version, end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = 5, id, 101, lastEpoch, true
	core.EndTxn(now.Add(2*time.Second), end)
	begin := now.UnixMilli()
	want := []pageRecord{
		{id: id, pid: 101, timeout: 30_000, updated: begin, started: -1, previous: -1},
		{id: id, pid: 101, epoch: lastEpoch, timeout: 30_000, state: 1, partitions: []string{"t-0", "t-1", "u-7"}, updated: begin + 1000, started: begin + 1000, previous: -1, protocol: 2},
		{id: id, pid: 102, timeout: 30_000, state: 4, updated: begin + 2000, started: begin + 1000, previous: 101, protocol: 2},
	}
	out := core.Take()
	if len(out.Records) != len(want) {
		t.Fatalf("%d records, want %d", len(out.Records), len(want))
	}
	for i, r := range out.Records {
		got, err := readPage(r)
		if err != nil || !slices.Equal(got.partitions, want[i].partitions) || fmt.Sprint(got) != fmt.Sprint(want[i]) {
			t.Errorf("record %d: %+v, %v; want %+v", i, got, err, want[i])
		}
	}
}

// TestOldValueIsRead: a value of version 0, written by the page.
func TestOldValueIsRead(t *testing.T) {
	key := append([]byte{0, 0, 0, 2}, "id"...)
	value := []byte{0, 0}
	value = binary.BigEndian.AppendUint64(value, 7)      // producer id
	value = binary.BigEndian.AppendUint16(value, 3)      // epoch
	value = binary.BigEndian.AppendUint32(value, 60_000) // timeout
	value = append(value, 1)                             // Ongoing
	value = binary.BigEndian.AppendUint32(value, 1)      // topics
	value = append(value, 0, 1, 't')
	value = binary.BigEndian.AppendUint32(value, 2)
	value = binary.BigEndian.AppendUint32(value, 0)
	value = binary.BigEndian.AppendUint32(value, 5)
	value = binary.BigEndian.AppendUint64(value, 2000) // last change
	value = binary.BigEndian.AppendUint64(value, 1000) // start
	core := New(Config{})
	if err := core.Replay(key, value); err != nil {
		t.Fatal(err)
	}
	core.Ready(time.UnixMilli(3000), func(string) [16]byte { return [16]byte{1} })
	d := core.Describe("id")
	if d.State != "Ongoing" || d.ProducerID != 7 || d.ProducerEpoch != 3 || d.StartTimestamp != 1000 || len(d.Topics) != 1 ||
		d.Topics[0].Topic != "t" || !slices.Equal(d.Topics[0].Partitions, []int32{0, 5}) {
		t.Errorf("%+v", d)
	}
	if at, ok := core.Deadline(); !ok || at != time.UnixMilli(61_000) {
		t.Errorf("deadline %v", at)
	}
	for _, bad := range [][]byte{nil, {0}, {0, 2, 0, 0}, {0, 1}} {
		if err := core.Replay([]byte{0, 0, 0, 1, 'x'}, bad); (err == nil) != (bad == nil) {
			t.Errorf("value %x: %v", bad, err)
		}
	}
	if err := core.Replay([]byte{0, 9}, nil); err == nil || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("a key of version 9: %v", err)
	}
}
