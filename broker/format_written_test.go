package broker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker"
	"github.com/weirstream/weir/internal/vfs"
)

// The other way round than internal/house: files that are written here from the
// pages of doc/format alone, without anything of the product, are read by a broker.

// pageBytes is a row of fields; all numbers are big endian.
type pageBytes []byte

func (b pageBytes) u8(v ...uint8) pageBytes { return append(b, v...) }
func (b pageBytes) i16(v int) pageBytes     { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func (b pageBytes) i32(vs ...int) pageBytes {
	for _, v := range vs {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return b
}
func (b pageBytes) i64(vs ...int) pageBytes {
	for _, v := range vs {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return b
}
func (b pageBytes) varint(v int) pageBytes     { return binary.AppendVarint(b, int64(v)) }
func (b pageBytes) uvarint(v int) pageBytes    { return binary.AppendUvarint(b, uint64(v)) }
func (b pageBytes) str(s string) pageBytes     { return append(b.i16(len(s)), s...) }
func (b pageBytes) text(s string) pageBytes    { return append(b.uvarint(len(s)+1), s...) } // compact
func (b pageBytes) with(more []byte) pageBytes { return append(b, more...) }
func (b pageBytes) tag0(v pageBytes) pageBytes { return b.u8(1, 0).uvarint(len(v)).with(v) }

// writtenAt is when all of it was written, in ms: far ahead, so that nothing is old.
const writtenAt = 4_700_000_000_000

func pageCRC(parts ...[]byte) (sum uint32) {
	for _, p := range parts {
		sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), p)
	}
	return sum
}

// writtenRecord is a record; a nil value is null.
type writtenRecord struct{ key, value []byte }

// writtenBatch is a batch as batch.md has it. attributes: 16 transactional, 32 control.
func writtenBatch(base, attributes, pid, epoch, seq int, records ...writtenRecord) pageBytes {
	rest := pageBytes{}.i16(attributes).i32(len(records)-1).i64(writtenAt, writtenAt, pid).i16(epoch).i32(seq, len(records))
	for i, r := range records {
		one := pageBytes{}.u8(0).varint(0).varint(i)
		for _, part := range [][]byte{r.key, r.value} {
			if part == nil {
				one = one.varint(-1)
			} else {
				one = one.varint(len(part)).with(part)
			}
		}
		one = one.varint(0)
		rest = rest.varint(len(one)).with(one)
	}
	return pageBytes{}.i64(base).i32(len(rest)+9, 0).u8(2).i32(int(pageCRC(rest))).with(rest)
}

// writtenLog is a partition's log.
type writtenLog struct {
	topic     string // 16 bytes
	batches   []pageBytes
	next      int
	producers pageBytes // as a checkpoint has them, their count first
	txns      pageBytes // likewise
}

const (
	writtenMeta    = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	writtenOrders  = "\xaa\x00\x00\x01\x01\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // qgAAAQEEAAAAAAAAAAAAAA
	writtenOffsets = "\xaa\x00\x00\x01\x01\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // qgAAAQEIAAAAAAAAAAAAAA
)

// writtenLogs are a topic of five partitions with a transaction that was aborted
// and one that was committed, offsets in each version of their value, and a group
// of each protocol.
func writtenLogs() []writtenLog {
	meta := []writtenRecord{
		{[]byte("cluster"), []byte(`{"v":1,"clusterId":"qgAAAQEAAAAAAAAAAAAAAA"}`)},
		{[]byte("topic"), []byte(`{"v":1,"name":"orders","id":"qgAAAQEEAAAAAAAAAAAAAA","partitions":5,"configs":{"retention.ms":"-1"}}`)},
		{[]byte("topic"), []byte(`{"v":1,"name":"__consumer_offsets","id":"qgAAAQEIAAAAAAAAAAAAAA","partitions":1,"configs":{"cleanup.policy":"compact"}}`)},
		{[]byte("producer-ids"), []byte(`{"v":1,"next":1000}`)},
	}
	groups := append(writtenCommits(), writtenGroups()...)
	aborted := writtenRecord{pageBytes{}.i16(0).i16(0), pageBytes{}.i16(0).i32(0)}
	committed := writtenRecord{pageBytes{}.i16(0).i16(1), pageBytes{}.i16(0).i32(0)}
	return []writtenLog{
		{topic: writtenMeta, batches: []pageBytes{writtenBatch(0, 0, -1, -1, -1, meta...)}, next: len(meta)},
		{topic: writtenOrders, batches: []pageBytes{
			writtenBatch(0, 0, -1, -1, -1, writtenRecord{nil, []byte("first")}, writtenRecord{[]byte("k"), []byte("second")}),
			writtenBatch(2, 16, 7, 0, 0, writtenRecord{nil, []byte("was aborted")}),
			writtenBatch(3, 16, 8, 0, 0, writtenRecord{nil, []byte("was committed")}),
			writtenBatch(4, 48, 7, 0, -1, aborted),
			writtenBatch(5, 48, 8, 0, -1, committed),
			writtenBatch(6, 0, -1, -1, -1, writtenRecord{nil, []byte("last")}),
		}, next: 7,
			producers: pageBytes{}.i32(2).i64(7).i16(0).i64(writtenAt).u8(1).i32(0, 0).i64(2).
				i64(8).i16(0).i64(writtenAt).u8(1).i32(0, 0).i64(3),
			txns: pageBytes{}.i32(2).i64(7).i32(0).i64(-1).i64(8).i32(0).i64(-1)},
		{topic: writtenOffsets, batches: []pageBytes{writtenBatch(0, 0, -1, -1, -1, groups...)}, next: len(groups)},
	}
}

// writtenCommits commit offset 10+n of partition n with version n of the value.
func writtenCommits() (out []writtenRecord) {
	for n, value := range []pageBytes{
		pageBytes{}.i16(0).i64(10).str("meta").i64(writtenAt),
		pageBytes{}.i16(1).i64(11).str("meta").i64(writtenAt, writtenAt+1_000_000_000),
		pageBytes{}.i16(2).i64(12).str("meta").i64(writtenAt),
		pageBytes{}.i16(3).i64(13).i32(-1).str("meta").i64(writtenAt),
		pageBytes{}.i16(4).i64(14).i32(-1).text("meta").i64(writtenAt).tag0(pageBytes(writtenOrders)),
	} {
		out = append(out, writtenRecord{pageBytes{}.i16(n & 1).str("readers").str("orders").i32(n), value})
	}
	return out
}

func writtenGroups() []writtenRecord {
	who := func(kind int) []byte { return pageBytes{}.i16(kind).str("next").str("member-1") }
	holds := pageBytes{}.uvarint(2).with([]byte(writtenOrders)).uvarint(3).i32(0, 3)
	return []writtenRecord{
		{pageBytes{}.i16(2).str("old"), pageBytes{}.i16(3).str("consumer").i32(4).str("range").str("member-0").i64(writtenAt).
			i32(1).str("member-0").str("instance-0").str("client").str("/127.0.0.1").i32(60_000, 45_000).i32(2).u8(1, 2).i32(3).u8(3, 4, 5)},
		{pageBytes{}.i16(3).str("next"), pageBytes{}.i16(0).i32(9).tag0(pageBytes{}.i64(1))},
		{who(5), pageBytes{}.i16(0).text("instance-1").u8(0).text("client").text("/127.0.0.1").uvarint(2).text("orders").text("").
			i32(60_000).text("uniform").u8(0)},
		{pageBytes{}.i16(16).str("next").str("ord.*"), pageBytes{}.i16(0).uvarint(2).text("orders").i64(0, writtenAt).u8(0)},
		{pageBytes{}.i16(16).str("next").str("ord.*"), nil},
		{pageBytes{}.i16(6).str("next"), pageBytes{}.i16(0).i32(9).tag0(pageBytes{}.i64(writtenAt))},
		{who(7), pageBytes{}.i16(0).with(holds).u8(0).u8(0)},
		{who(8), pageBytes{}.i16(0).i32(9, 8).u8(0).with(holds).tag0(pageBytes{}.uvarint(3).i32(9, 8)).uvarint(1).u8(0)},
	}
}

// writtenCheckpoint tells of logs that stand wholly in a segment each; without
// any, of a journal that begins with frame 1.
func writtenCheckpoint(logs []writtenLog) pageBytes {
	b := pageBytes("wck1").i16(3)
	if len(logs) > 0 {
		b = b.u8(1, 0).i32(0).i64(0, 0, 0).i64(0).i32(0)
	} else {
		b = b.u8(0, 0).i32(0).i64(1, 4096, 1).i64(0).i32(1).i32(1).i64(1).i64(1, 4096, 1)
	}
	b = b.i32(len(logs))
	for _, l := range logs {
		none := pageBytes{}.i32(0)
		if l.producers == nil {
			l.producers, l.txns = none, none
		}
		aborts := 0
		if l.topic == writtenOrders {
			aborts = 1
		}
		one := pageBytes(l.topic).i32(0).i64(0, l.next).
			i32(1).i64(0, len(bytes.Join(asBytes(l.batches), nil)), writtenAt).
			i32(1).i32(0).i64(0).with(l.producers).i64(0).i32(0).i32(aborts).with(l.txns)
		b = b.i32(len(one)).with(one)
	}
	return b.i32(int(pageCRC(b)))
}

func asBytes(batches []pageBytes) (out [][]byte) {
	for _, b := range batches {
		out = append(out, b)
	}
	return out
}

// writtenArchive is a backup as backup.md has it.
func writtenArchive(t *testing.T, logs []writtenLog) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(name string, b []byte) {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(b)), Mode: 0o600})
		if _, werr := w.Write(b); err != nil || werr != nil {
			t.Fatal(err, werr)
		}
	}
	add("format", []byte("weir data 1\n"))
	for _, l := range logs {
		add(fmt.Sprintf("topics/%x/0-%020d.log", l.topic, 0), bytes.Join(asBytes(l.batches), nil))
	}
	add("checkpoint", writtenCheckpoint(logs))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// writtenDirectory is a data directory in which all stands in the journal, as
// journal.md has it: a frame for each log, that of the metadata first.
func writtenDirectory(t *testing.T, logs []writtenLog) *vfs.Mem {
	t.Helper()
	const length = 48 << 10
	head := pageBytes("weir wjl").i32(1, 1).i64(1)
	tail := append(pageBytes{}.i64(length), make([]byte, 4060)...)
	file := head.i32(int(pageCRC(head, tail))).with(tail)
	for n, l := range logs {
		body := bytes.Join(asBytes(l.batches), nil)
		entry := pageBytes(l.topic).i32(0, len(body))
		frame := pageBytes("wFM1").i32(40+len(entry)+len(body)).i64(n+1, n).i32(1, 1, 0)
		sum := pageCRC(frame, entry)
		for _, b := range l.batches {
			sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), b[:21])
		}
		frame = frame.i32(int(sum)).with(entry).with(body)
		file = file.with(append(frame, make([]byte, -len(frame)&7)...))
	}
	slot := pageBytes("weir wjn").i64(1)
	newest := append(make([]byte, 512), slot.i32(int(pageCRC(slot)))...)
	mem := vfs.NewMem()
	for name, b := range map[string][]byte{
		"format": []byte("weir data 1\n"), "checkpoint": writtenCheckpoint(nil), "journal/newest": newest,
		fmt.Sprintf("journal/%020d.journal", 1): append(file, make([]byte, length-len(file))...),
	} {
		name = filepath.Join("data", filepath.FromSlash(name))
		if err := mem.MkdirAll(filepath.Dir(name)); err != nil {
			t.Fatal(err)
		}
		f, err := mem.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return mem
}

// TestPagesSuffice: a backup and a data directory that are written from the pages
// of doc/format alone are served, with transactions, offsets and groups.
func TestPagesSuffice(t *testing.T) {
	logs := writtenLogs()
	restored := vfs.NewMem()
	if _, err := broker.Restore(t.Context(), restored, bytes.NewReader(writtenArchive(t, logs)), "data"); err != nil {
		t.Fatalf("restore: %v", err)
	}
	for name, mem := range map[string]*vfs.Mem{"backup": restored, "journal": writtenDirectory(t, logs)} {
		t.Run(name, func(t *testing.T) {
			if report, err := broker.Check(t.Context(), mem, "data"); err != nil || len(report.Problems) > 0 {
				t.Errorf("check: %v, %+v", err, report)
			}
			cfg := formatConfig(mem)
			cfg.Settings["offsets.topic.num.partitions"] = "1"
			b, err := broker.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := b.Shutdown(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			wantWritten(t, b)
		})
	}
}

func wantWritten(t *testing.T, b *broker.Broker) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(b.DialContext),
		kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var got []string
	for len(got) < 5 {
		fetches := cl.PollFetches(within(t))
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v after %v", err, got)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, fmt.Sprint(r.Offset, " ", string(r.Value))) })
	}
	if want := "[0 first 1 second 2 was aborted 3 was committed 6 last]"; fmt.Sprint(got) != want {
		t.Errorf("read %v, want %v", got, want)
	}
	committed, err := kadm.NewClient(cl).FetchOffsets(within(t), "readers")
	for n := range int32(5) {
		if o, ok := committed.Lookup("orders", n); err != nil || !ok || o.At != int64(10+n) || o.Metadata != "meta" {
			t.Errorf("committed of partition %d: %+v, %v", n, o, err)
		}
	}
	groups := readGroups(t, cl)
	// The hash is not weir's own, so a new epoch with a new target may have begun.
	next := formatMember{Instance: "instance-1", Subscribed: "orders", Epoch: 9, Assigned: "orders-0 orders-3"}
	next.Target = groups["next"].Members["member-1"].Target
	if g := groups["next"]; g.Epoch < 9 || g.Epoch > 10 || len(g.Members) != 1 || g.Members["member-1"] != next {
		t.Errorf("group of the next protocol: %+v", g)
	}
	old := formatMember{Instance: "instance-0", Subscribed: "0102", Assigned: "030405"}
	if g := groups["old"]; len(g.Members) != 1 || g.Members["member-0"] != old {
		t.Errorf("group of the classic protocol: %+v", g)
	}
}
