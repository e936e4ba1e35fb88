package storage

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// pageEntry is an entry of a transaction index as doc/format/txn-index.md has it,
// made without the code that the product uses.
func pageEntry(producer, first, last, stable uint64) []byte {
	var b []byte
	for _, v := range []uint64{producer, first, last, stable} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// TestTxnIndexPage: the file is, to the byte, what its page says, and a file that
// was made from the page alone is read.
func TestTxnIndexPage(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, smallConfig(fs), orders)
	p := s.Partition(ordersID, 0)
	put(t, s, p, inTxn(1, 0, 0, 1))    // 0
	put(t, s, p, inTxn(2, 0, 0, 1))    // 1
	put(t, s, p, marker(1, 0, false))  // 2: the oldest that is open begins at 1
	put(t, s, p, inTxn(3, 0, 0, 1))    // 3
	put(t, s, p, marker(3, 0, true))   // 4: committed, so not in the index
	put(t, s, p, marker(2, 0, false))  // 5: nothing is open any more
	put(t, s, p, text(1, "and so on")) // 6
	mustClose(t, s)

	name := topicDir("data", ordersID) + "/" + segmentName(0, 0) + ".txnindex"
	want := slices.Concat(pageEntry(1, 0, 2, 1), pageEntry(2, 1, 5, 6))
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := fs.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, info.Size)
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the file is % x, the page says % x", got, want)
	}
	// What the log itself would not say shows that the file was read, not made anew.
	if _, err := f.WriteAt(pageEntry(2, 1, 5, 5), 36); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, smallConfig(fs), orders)
	defer mustClose(t, s)
	listed, err := s.Partition(ordersID, 0).Aborted(0, 7)
	if err != nil || !slices.Equal(listed, []AbortedTxn{{1, 0, 2, 1}, {2, 1, 5, 5}}) {
		t.Errorf("%+v, %v", listed, err)
	}
}
