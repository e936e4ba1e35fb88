package journal

import (
	"bytes"
	"errors"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// FuzzReplay puts arbitrary bytes where frames should be. Replay must end
// without a panic, show frames without a gap, and give the same answer again.
func FuzzReplay(f *testing.F) {
	one, err := appendFrame(nil, frameHead{length: frameHeader + entryHeader + 78, lsn: 1, incarnation: 1},
		[]Entry{{Partition: 3, Batches: newBatch(7, 10, 1)[:78:78]}})
	if err != nil {
		f.Fatal(err)
	}
	two, err := appendFrame(bytes.Clone(one), frameHead{length: frameHeader, lsn: 2, synced: 1, incarnation: 1}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(one, true)
	f.Add(two, true)
	f.Add(append(make([]byte, 24), two...), false)
	huge := bytes.Clone(one)
	huge[4], huge[28] = 0xff, 0xff
	f.Add(huge, true)
	f.Fuzz(func(t *testing.T, frames []byte, head bool) {
		mem := vfs.NewMem()
		cfg := testConfig(mem)
		st := State{Replay: Position{File: 1, Offset: headerBlock, LSN: 1}, Spans: []Span{{Incarnation: 1, First: 1, Start: Position{File: 1, Offset: headerBlock, LSN: 1}}}}
		j, err := Open(cfg, st)
		if err != nil {
			t.Fatal(err)
		}
		file, err := mem.Create(j.fileName(1))
		if err != nil {
			t.Fatal(err)
		}
		block := frames
		if head {
			block = append(fileHead{seq: 1, incarnation: 1}.encode(), frames...)
		}
		if _, err := file.WriteAt(block, 0); err != nil {
			t.Fatal(err)
		}
		_, first, err1 := replay(cfg, st)
		for i, s := range first {
			if s.lsn != LSN(i+1) {
				t.Fatalf("frame %d is at place %d", s.lsn, i+1)
			}
		}
		_, second, err2 := replay(cfg, st)
		checkFrames(t, second, first)
		var corrupt *CorruptError
		if (err1 == nil) != (err2 == nil) || err1 != nil && !errors.As(err1, &corrupt) {
			t.Fatalf("errors are %v and %v", err1, err2)
		}
	})
}
