package house

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The pages of doc/format are complete if a program that was written from them
// alone reads a data directory. This one imports nothing of the product. It reads
// the directories that are kept in broker/testdata and finds what is written down
// beside them: the records that a client reads, the offsets of a group, and groups.

const keptData = "../../broker/testdata/"

// pageReader is a slice that is taken apart from its start; too short is an error.
type pageReader struct {
	b   []byte
	err error
}

func (r *pageReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.err, r.b = errors.New("too short"), nil
		return make([]byte, max(n, 0))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *pageReader) u8() int  { return int(r.take(1)[0]) }
func (r *pageReader) i16() int { return int(int16(binary.BigEndian.Uint16(r.take(2)))) }
func (r *pageReader) u32() int { return int(binary.BigEndian.Uint32(r.take(4))) }
func (r *pageReader) i64() int { return int(binary.BigEndian.Uint64(r.take(8))) }
func (r *pageReader) str() string {
	return string(r.take(r.i16()))
}

func (r *pageReader) varint() int {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.err = errors.New("no varint")
		return 0
	}
	r.take(n)
	return int(v)
}

func (r *pageReader) uvarint() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.err = errors.New("no unsigned varint")
		return 0
	}
	r.take(n)
	return int(v)
}

var pageTable = crc32.MakeTable(crc32.Castagnoli)

func pageSum(parts ...[]byte) (sum uint32) {
	for _, p := range parts {
		sum = crc32.Update(sum, pageTable, p)
	}
	return sum
}

// pageBatch is a batch as batch.md has it.
type pageBatch struct {
	raw                     []byte
	base, next, maxTS       int
	pid, epoch, seq, leader int
	records                 []pageRecord
}

type pageRecord struct {
	offset     int
	key, value []byte // nil: null
}

func readPageBatch(b []byte) (out pageBatch, rest []byte, err error) {
	r := &pageReader{b: b}
	out.base = r.i64()
	n := r.u32()
	if r.err != nil || n < 49 || n > len(r.b) {
		return out, nil, fmt.Errorf("length %d, %d bytes are there", n, len(r.b))
	}
	out.raw, rest = b[:n+12], b[n+12:]
	r.b = r.b[:n]
	out.leader = r.u32()
	if magic := r.u8(); magic != 2 {
		return out, nil, fmt.Errorf("magic %d", magic)
	}
	if sum := uint32(r.u32()); sum != pageSum(out.raw[21:]) {
		return out, nil, errors.New("wrong checksum")
	}
	if attributes := r.i16(); attributes&7 != 0 {
		return out, nil, errors.New("compressed, and this reader knows no codec")
	}
	out.next = out.base + r.u32() + 1
	r.i64() // base timestamp
	out.maxTS = r.i64()
	out.pid, out.epoch, out.seq = r.i64(), r.i16(), r.u32()
	for range r.u32() {
		one := &pageReader{b: r.take(r.varint())}
		one.u8()     // attributes
		one.varint() // timestamp delta
		rec := pageRecord{offset: out.base + one.varint()}
		if n := one.varint(); n >= 0 {
			rec.key = one.take(n)
		}
		if n := one.varint(); n >= 0 {
			rec.value = one.take(n)
		}
		out.records = append(out.records, rec)
		r.err = errors.Join(r.err, one.err)
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = errors.New("bytes behind the records")
	}
	return out, rest, r.err
}

func readPageBatches(b []byte) (out []pageBatch, err error) {
	for len(b) > 0 {
		var one pageBatch
		if one, b, err = readPageBatch(b); err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

type pagePosition struct{ file, offset, lsn int }

func (r *pageReader) position() pagePosition { return pagePosition{r.i64(), r.i64(), r.i64()} }

// pageCheckpoint is a checkpoint as checkpoint.md has it.
type pageCheckpoint struct {
	clean      bool
	replay     pagePosition
	synced     int
	spans      []pageSpan
	partitions []pagePartition
}

type pageSpan struct {
	incarnation, first int
	start              pagePosition
}

type pagePartition struct {
	topic               string // 32 hexadecimal digits
	number, start, next int
	segments            []pageSegment
	producers           map[int]int // id to the last sequence number
	epochs              []int
}

type pageSegment struct{ base, size, maxTS, generation int }

func readPageCheckpoint(b []byte) (c pageCheckpoint, err error) {
	r := &pageReader{b: b[:len(b)-4]}
	if pageSum(r.b) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return c, errors.New("wrong checksum")
	}
	if magic := string(r.take(4)); magic != "wck1" {
		return c, fmt.Errorf("magic %q", magic)
	}
	version := r.i16()
	if version < 1 || version > 3 {
		return c, fmt.Errorf("version %d", version)
	}
	c.clean = r.u8()&1 != 0
	r.u8()  // durability
	r.u32() // leader epoch
	c.replay, c.synced = r.position(), r.i64()
	for range r.u32() {
		c.spans = append(c.spans, pageSpan{r.u32(), r.i64(), r.position()})
	}
	for range r.u32() {
		one := &pageReader{b: r.take(r.u32())}
		c.partitions = append(c.partitions, readPagePartition(one, version))
		if one.err != nil || len(one.b) > 0 {
			return c, fmt.Errorf("partition's record: %d bytes are left, %w", len(one.b), one.err)
		}
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = errors.New("bytes behind the partitions")
	}
	return c, r.err
}

func readPagePartition(r *pageReader, version int) pagePartition {
	p := pagePartition{topic: fmt.Sprintf("%x", r.take(16)), number: r.u32(), start: r.i64(), next: r.i64(), producers: map[int]int{}}
	for range r.u32() {
		p.segments = append(p.segments, pageSegment{base: r.i64(), size: r.i64(), maxTS: r.i64()})
	}
	for range r.u32() {
		p.epochs = append(p.epochs, r.u32())
		r.i64()
	}
	for range r.u32() {
		id := r.i64()
		r.i16() // epoch
		r.i64() // time of the last append
		for range r.u8() {
			r.u32()
			p.producers[id] = r.u32()
			r.i64()
		}
	}
	if version >= 2 {
		r.i64() // compacted up to here
		for k := range p.segments {
			p.segments[k].generation = r.u32()
		}
	}
	if version >= 3 {
		for range p.segments {
			r.u32() // entries of the transaction index
		}
		for range r.u32() {
			r.i64() // producer
			r.u32() // coordinator epoch
			r.i64() // begin of the open transaction
		}
	}
	return p
}

// pageFrame is a frame as journal.md has it.
type pageFrame struct {
	lsn, synced, incarnation int
	size                     int // with padding
	entries                  []pageEntry
}

type pageEntry struct {
	topic   string
	number  int
	batches []pageBatch
}

// readPageFrame reads the frame at the start of b; false if there is no good one.
func readPageFrame(b []byte) (f pageFrame, ok bool) {
	r := &pageReader{b: b}
	if string(r.take(4)) != "wFM1" {
		return f, false
	}
	length := r.u32()
	f.lsn, f.synced, f.incarnation = r.i64(), r.i64(), r.u32()
	n, reserved, sum := r.u32(), r.u32(), uint32(r.u32())
	f.size = (length + 7) / 8 * 8
	if r.err != nil || reserved != 0 || f.size > len(b) || 40+24*n > length {
		return f, false
	}
	summed := pageSum(b[:36], b[40:40+24*n])
	heads, body := &pageReader{b: b[40 : 40+24*n]}, &pageReader{b: b[40+24*n : length]}
	for range n {
		e := pageEntry{topic: fmt.Sprintf("%x", heads.take(16)), number: heads.u32()}
		batches, err := readPageBatches(body.take(heads.u32()))
		if err != nil || body.err != nil {
			return f, false
		}
		for _, one := range batches {
			summed = crc32.Update(summed, pageTable, one.raw[:21])
		}
		e.batches = batches
		f.entries = append(f.entries, e)
	}
	padding := strings.Trim(string(b[length:f.size]), "\x00")
	return f, len(body.b) == 0 && padding == "" && summed == sum
}

// readPageJournal walks the frames from the checkpoint's place on.
func readPageJournal(dir string, c pageCheckpoint, visit func(pageFrame)) error {
	at := c.replay
	for k, span := range c.spans {
		if k > 0 {
			if at.lsn != span.first {
				return nil
			}
			at = span.start
		}
		last := -1
		if k+1 < len(c.spans) {
			last = c.spans[k+1].first - 1
		}
		for last < 0 || at.lsn <= last {
			f, ok, err := pageFrameAt(dir, at, span.incarnation)
			if err == nil && !ok {
				at.file, at.offset = at.file+1, 4096
				f, ok, err = pageFrameAt(dir, at, span.incarnation)
			}
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			visit(f)
			at.offset, at.lsn = at.offset+f.size, at.lsn+1
		}
	}
	if at.lsn <= c.synced {
		return fmt.Errorf("the journal ends before frame %d, and %d was synced", at.lsn, c.synced)
	}
	return nil
}

func pageFrameAt(dir string, at pagePosition, incarnation int) (f pageFrame, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%020d.journal", at.file)))
	if errors.Is(err, os.ErrNotExist) {
		return f, false, nil
	}
	if err != nil {
		return f, false, err
	}
	r := &pageReader{b: b}
	if magic, version := string(r.take(8)), r.u32(); magic != "weir wjl" || version != 1 {
		return f, false, fmt.Errorf("journal file %d: magic %q, version %d", at.file, magic, version)
	}
	wrote, seq, sum := r.u32(), r.i64(), uint32(r.u32())
	if sum != pageSum(b[:24], b[28:4096]) || seq != at.file || wrote != incarnation || at.offset > len(b) {
		return f, false, nil
	}
	f, ok = readPageFrame(b[at.offset:])
	return f, ok && f.lsn == at.lsn && f.incarnation == incarnation, nil
}

// pageLog is one partition's log, read from its segments and the journal.
type pageLog struct {
	start, next int
	batches     []pageBatch
}

// readPageLogs reads all logs: segments up to the recovery point, then frames.
func readPageLogs(t *testing.T, dir string) map[string]*pageLog {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := readPageCheckpoint(b)
	if err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	logs := map[string]*pageLog{}
	for _, p := range c.partitions {
		l := &pageLog{start: p.start, next: p.next}
		logs[fmt.Sprint(p.topic, "-", p.number)] = l
		for k, s := range p.segments {
			end := p.next
			if k+1 < len(p.segments) {
				end = p.segments[k+1].base
			}
			batches := readPageSegment(t, dir, p, s, end, k+1 < len(p.segments))
			l.batches = append(l.batches, batches...)
		}
		if n := len(l.batches); n > 0 && l.batches[n-1].next != p.next {
			t.Errorf("%s-%d: the segments end at %d, the checkpoint says %d", p.topic, p.number, l.batches[n-1].next, p.next)
		}
	}
	frames := 0
	err = readPageJournal(filepath.Join(dir, "journal"), c, func(f pageFrame) {
		frames++
		for _, e := range f.entries {
			key := fmt.Sprint(e.topic, "-", e.number)
			if logs[key] == nil {
				logs[key] = &pageLog{}
			}
			logs[key].redo(t, key, e.batches)
		}
	})
	if err != nil || frames == 0 {
		t.Errorf("journal: %d frames, %v", frames, err)
	}
	return logs
}

func (l *pageLog) redo(t *testing.T, key string, batches []pageBatch) {
	for _, b := range batches {
		if b.base < l.next {
			continue // the segments have it
		}
		if b.base > l.next {
			t.Errorf("%s: a frame begins at offset %d, the log ends at %d", key, b.base, l.next)
		}
		l.batches = append(l.batches, b)
		l.next = b.next
	}
}

// readPageSegment reads a segment and compares it with its index.
func readPageSegment(t *testing.T, dir string, p pagePartition, s pageSegment, end int, sealed bool) []pageBatch {
	t.Helper()
	name := fmt.Sprintf("%d-%020d", p.number, s.base)
	if s.generation > 0 {
		name += "-" + strconv.Itoa(s.generation)
	}
	name = filepath.Join(dir, "topics", p.topic, name)
	b, err := os.ReadFile(name + ".log")
	if err != nil || len(b) < s.size {
		t.Fatalf("%s: %d bytes, want %d: %v", name, len(b), s.size, err)
	}
	batches, err := readPageBatches(b[:s.size])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	largest, last := -1<<63, s.base
	at := map[int]int{} // positions to batches
	pos := 0
	for k, one := range batches {
		if one.base < last {
			t.Errorf("%s: offset %d comes behind %d", name, one.base, last)
		}
		at[pos] = k
		largest, last, pos = max(largest, one.maxTS), one.next, pos+len(one.raw)
	}
	if largest != s.maxTS {
		t.Errorf("%s: largest timestamp %d, the checkpoint says %d", name, largest, s.maxTS)
	}
	if sealed {
		at[pos] = len(batches)
		checkPageIndex(t, name, s, batches, at, end)
	}
	return batches
}

func checkPageIndex(t *testing.T, name string, s pageSegment, batches []pageBatch, at map[int]int, end int) {
	t.Helper()
	b, err := os.ReadFile(name + ".index")
	if err != nil || len(b) == 0 || len(b)%24 != 0 {
		t.Errorf("%s: an index of %d bytes: %v", name, len(b), err)
		return
	}
	before, largest, last := 0, -1<<63, 0
	for ; len(b) > 0; b = b[24:] {
		r := &pageReader{b: b[:24]}
		delta, pos, maxTS, prefixes, sum := r.u32(), r.u32(), r.i64(), uint32(r.u32()), uint32(r.u32())
		k, ok := at[pos]
		if sum != pageSum(b[:20]) || !ok {
			t.Errorf("%s: index entry at byte %d of the log: checksum %v, a batch there %v", name, pos, sum == pageSum(b[:20]), ok)
			return
		}
		var want uint32
		for _, one := range batches[before:k] {
			want = crc32.Update(want, pageTable, one.raw[:17])
			largest = max(largest, one.maxTS)
		}
		offset := end
		if k < len(batches) {
			offset = batches[k].base
		}
		if s.base+delta != offset || maxTS != largest || prefixes != want {
			t.Errorf("%s: index entry at byte %d: offset %d, time %d; want %d, %d; prefixes right: %v",
				name, pos, s.base+delta, maxTS, offset, largest, prefixes == want)
		}
		before, last = k, pos
	}
	if last != s.size {
		t.Errorf("%s: the index ends at byte %d, the segment has %d", name, last, s.size)
	}
}

// pageTopics folds the metadata log as metadata-log.md has it: names by id, and
// log starts by "id-partition".
func pageTopics(t *testing.T, log *pageLog) (names map[string]string, starts map[string]int) {
	t.Helper()
	names, starts = map[string]string{}, map[string]int{}
	cluster := ""
	for _, b := range log.batches {
		for _, r := range b.records {
			var v struct {
				V                   int
				Name, ID, ClusterID string
				Partitions          int
				Starts              [][2]int
			}
			if err := json.Unmarshal(r.value, &v); err != nil || v.V != 1 {
				t.Fatalf("metadata record at %d: %q, %v", r.offset, r.value, err)
			}
			id, err := base64.RawURLEncoding.DecodeString(v.ID)
			if err != nil {
				t.Fatalf("metadata record at %d: id %q", r.offset, v.ID)
			}
			hex := fmt.Sprintf("%x", id)
			switch string(r.key) {
			case "topic":
				names[hex] = v.Name
			case "topic-deleted":
				delete(names, hex)
			case "log-start":
				for _, s := range v.Starts {
					key := fmt.Sprint(hex, "-", s[0])
					starts[key] = max(starts[key], s[1])
				}
			case "cluster":
				cluster = v.ClusterID
			case "producer-ids":
			default:
				t.Fatalf("metadata record at %d: key %q", r.offset, r.key)
			}
		}
	}
	if cluster == "" {
		t.Error("no cluster id in the metadata log")
	}
	return names, starts
}

// pageOffsets reads committed offsets as offsets-topic.md has them.
func pageOffsets(t *testing.T, log *pageLog, group string, out map[string]int) {
	t.Helper()
	for _, b := range log.batches {
		for _, rec := range b.records {
			key := &pageReader{b: rec.key}
			if version := key.i16(); version > 1 || key.str() != group {
				continue
			}
			name := fmt.Sprint(key.str(), "-", key.u32())
			if rec.value == nil {
				delete(out, name)
				continue
			}
			value := &pageReader{b: rec.value}
			if version := value.i16(); version != 4 {
				t.Fatalf("offset's value has version %d", version)
			}
			out[name] = value.i64()
			value.u32()                     // leader epoch
			value.take(value.uvarint() - 1) // metadata
			value.i64()                     // commit time
			for range value.uvarint() {
				value.uvarint()
				value.take(value.uvarint())
			}
			if key.err != nil || value.err != nil || len(value.b) > 0 {
				t.Errorf("offset of %s: %v, %v, %d bytes are left", name, key.err, value.err, len(value.b))
			}
		}
	}
}

// TestFormatPages reads the kept directories by the pages alone.
func TestFormatPages(t *testing.T) {
	for _, name := range []string{"data-v1-checkpoint1", "data-v1-checkpoint2", "data-v1-checkpoint3"} {
		t.Run(name, func(t *testing.T) { testFormatPages(t, keptData+name) })
	}
}

func testFormatPages(t *testing.T, dir string) {
	format, err := os.ReadFile(filepath.Join(dir, "format"))
	if err != nil || strings.TrimSpace(string(format)) != "weir data 1" {
		t.Fatalf("format %q, %v", format, err)
	}
	text, err := os.ReadFile(dir + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Records   map[string]map[string]string
		Committed map[string]int
		Groups    map[string]pageGroup
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	logs := readPageLogs(t, dir)
	names, starts := pageTopics(t, logs[strings.Repeat("0", 31)+"1-0"])
	got, committed := map[string]map[string]string{}, map[string]int{}
	groups := pageGroups{}
	for key, log := range logs {
		id, number, _ := strings.Cut(key, "-")
		name := names[id]
		if name == "__consumer_offsets" {
			pageOffsets(t, log, "readers", committed)
			groups.read(t, log, names)
			continue
		}
		records := map[string]string{}
		for _, b := range log.batches {
			for _, r := range b.records {
				if r.offset >= max(log.start, starts[key]) {
					records[strconv.Itoa(r.offset)] = string(r.value)
				}
			}
		}
		if name != "" {
			got[name+"-"+number] = records
		}
	}
	for key, records := range want.Records {
		if !maps.Equal(got[key], records) {
			t.Errorf("%s: %d records by the pages, %d by the broker, or other ones", key, len(got[key]), len(records))
		}
	}
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want.Records))) {
		t.Errorf("partitions by the pages %v", slices.Sorted(maps.Keys(got)))
	}
	if !maps.Equal(committed, want.Committed) {
		t.Errorf("committed %v by the pages, %v by the broker", committed, want.Committed)
	}
	if strings.HasSuffix(dir, "3") { // it has groups of both protocols, with each kind of record
		for _, kind := range []int{2, 3, 5, 6, 7, 8, 16} {
			if groups.kinds[kind] == 0 {
				t.Errorf("there is no record whose key has version %d", kind)
			}
		}
		if matched := groups.expressions[[2]string{"next", "ev.*"}]; !slices.Equal(matched, []string{"events"}) {
			t.Errorf("the expression matches %q by the pages", matched)
		}
	}
	if got := groups.shown(); !reflect.DeepEqual(got, want.Groups) && len(got)+len(want.Groups) > 0 {
		t.Errorf("groups %+v by the pages, %+v by the broker", got, want.Groups)
	}
}
