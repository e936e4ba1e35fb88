package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// written is a journal whose first frames are recorded as synced by the last.
func written(t *testing.T, mem *vfs.Mem) (Config, State, []seen, []Position) {
	cfg := testConfig(mem)
	j, st, _ := start(t, cfg, State{})
	var frames []seen
	var places []Position
	for i := range 4 {
		places = append(places, j.Next())
		frames = append(frames, put(t, j, newEntry(0, int64(i), 50), newEntry(1, int64(i), 7)))
		durable(t, j, frames[i])
	}
	places = append(places, j.Next())
	closed(t, j)
	return cfg, st, frames, places
}

// flip inverts one bit.
func flip(t *testing.T, fs vfs.FS, name string, off int64) {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := []byte{0}
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// A later frame says that a frame was synced: each of its bytes counts, and so
// does each byte of the file's header.
func TestFlippedByteOfSyncedFrameIsRefusedWithItsPlace(t *testing.T) {
	mem := vfs.NewMem()
	cfg, st, frames, places := written(t, mem)
	j, _ := Open(cfg, st)
	name := j.fileName(places[0].File)
	bad := func(off int64, want LSN) {
		flip(t, mem, name, off)
		defer flip(t, mem, name, off)
		_, got, err := replay(cfg, st)
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) {
			t.Fatalf("byte %d: error is %v, want a CorruptError", off, err)
		}
		place := places[want-1]
		if corrupt.LSN != want || corrupt.Offset != place.Offset || corrupt.File != name || corrupt.Reason == "" {
			t.Fatalf("byte %d: %v, want frame %d at byte %d", off, corrupt, want, place.Offset)
		}
		checkFrames(t, got, frames[:want-1])
	}
	for off := int64(0); off < headerBlock; off += 5 {
		bad(off, 1)
	}
	for lsn := LSN(1); lsn <= 3; lsn++ {
		for off := places[lsn-1].Offset; off < places[lsn].Offset; off++ {
			bad(off, lsn)
		}
	}
}

// Nothing says that the last frame was synced: it is torn, and cut.
func TestFlippedByteOfUnsyncedTailIsCut(t *testing.T) {
	mem := vfs.NewMem()
	cfg, st, frames, places := written(t, mem)
	j, _ := Open(cfg, st)
	name := j.fileName(places[3].File)
	for off := places[3].Offset; off < places[4].Offset; off++ {
		flip(t, mem, name, off)
		_, got, err := replay(cfg, st)
		if err != nil {
			t.Fatalf("byte %d: %v", off, err)
		}
		checkFrames(t, got, frames[:3])
		flip(t, mem, name, off)
	}
	st.Synced = 4 // the checkpoint knows better
	flip(t, mem, name, places[3].Offset+50)
	var corrupt *CorruptError
	if _, _, err := replay(cfg, st); !errors.As(err, &corrupt) || corrupt.LSN != 4 || corrupt.Synced != 4 {
		t.Fatalf("with State.Synced the error is %v, want a CorruptError at frame 4", err)
	}
}

// A lost or damaged file in the middle is found by what later files say.
func TestDamagedFileIsRefused(t *testing.T) {
	for _, damage := range []string{"removed", "cut", "header", "first frame"} {
		t.Run(damage, func(t *testing.T) {
			mem := vfs.NewMem()
			cfg := testConfig(mem)
			j, st, _ := start(t, cfg, State{})
			for i := range 12 {
				durable(t, j, put(t, j, newEntry(0, int64(i), 3000)))
			}
			closed(t, j)
			name := j.fileName(st.Replay.File + 1)
			switch damage {
			case "removed":
				if err := mem.Remove(name); err != nil {
					t.Fatal(err)
				}
			case "cut":
				f, _ := mem.Open(name)
				if err := errors.Join(f.Truncate(headerBlock+100), f.Close()); err != nil {
					t.Fatal(err)
				}
			case "header":
				flip(t, mem, name, 20)
			case "first frame":
				flip(t, mem, name, headerBlock+500)
			}
			_, frames, err := replay(cfg, st)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Fatalf("error is %v, want a CorruptError", err)
			}
			if int(corrupt.LSN) != len(frames)+1 {
				t.Fatalf("%v, after %d frames", corrupt, len(frames))
			}
			if damage == "first frame" && (corrupt.File != name || corrupt.Offset != headerBlock) {
				t.Fatalf("%v, want it in %s at %d", corrupt, name, headerBlock)
			}
		})
	}
}

// A journal that was cut at a torn frame and written again, with fewer or with
// more frames, shows nothing of the old ones: they are of another incarnation,
// and the new ones stand in a file of their own.
func TestFramesBehindATornOneNeverComeBack(t *testing.T) {
	for again := range 6 {
		t.Run(fmt.Sprintf("%d frames", again), func(t *testing.T) {
			mem := vfs.NewMem()
			cfg := testConfig(mem)
			j, st, _ := start(t, cfg, State{})
			want := []seen{put(t, j, newEntry(0, 0, 100))}
			durable(t, j, want[0])
			place := j.Next()
			// One group of four: the first of them is torn, the others are whole.
			j.mu.Lock()
			j.mu.writing = true
			j.mu.Unlock()
			for i := range 4 {
				put(t, j, newEntry(0, int64(i+1), 100))
			}
			j.mu.Lock()
			j.mu.writing = false
			j.mu.Unlock()
			closed(t, j)
			flip(t, mem, j.fileName(place.File), place.Offset+70)
			for crashes := range 3 {
				j, next, frames := start(t, cfg, st)
				checkFrames(t, frames, want)
				if crashes > 0 {
					st = next // before, the checkpoint was lost in the crash
					for i := range again {
						want = append(want, put(t, j, newEntry(0, int64(10+i), 100)))
					}
				}
				closed(t, j)
			}
			_, frames, err := replay(cfg, st)
			if err != nil {
				t.Fatal(err)
			}
			checkFrames(t, frames, want)
		})
	}
}

// A file whose first frame was torn, recycled in a life that begins with the
// same LSN: behind the new frame the old ones follow, whole, in sequence, at the
// very place. Only the incarnation tells them apart.
func TestOldFramesInARecycledFileAreNotTaken(t *testing.T) {
	mem := vfs.NewMem()
	cfg := testConfig(mem)
	j, st, _ := start(t, cfg, State{})
	place := j.Next()
	for i := range 3 {
		put(t, j, newEntry(0, int64(i), 100))
	}
	closed(t, j)
	flip(t, mem, j.fileName(place.File), place.Offset+70)
	j, _ = Open(cfg, st)
	for _, off := range []int64{1, 2} { // the frames behind were written with it
		at := place.Offset + off*FrameBytes(int64(len(newBatch(0, 100, 0))), 1)
		rewriteSynced(t, mem, j.fileName(place.File), at)
	}
	j, st, frames := start(t, cfg, st)
	checkFrames(t, frames, nil)
	closed(t, j)
	j, st, _ = start(t, cfg, st)
	if len(j.mu.spares) != 1 {
		t.Fatalf("%d spares, want the torn file", len(j.mu.spares))
	}
	want := []seen{put(t, j, newEntry(0, 9, 100))}
	closed(t, j)
	_, frames, err := replay(cfg, st)
	if err != nil {
		t.Fatal(err)
	}
	checkFrames(t, frames, want)
}

// rewriteSynced makes a frame say that nothing was synced when it was written.
func rewriteSynced(t *testing.T, fs vfs.FS, name string, off int64) {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 4096)
	if _, err := readFull(f, b, off); err != nil {
		t.Fatal(err)
	}
	h, ok := decodeHead(b)
	if !ok {
		t.Fatalf("no frame at %d", off)
	}
	clear(b[16:24])
	crc, err := sumFrame(b[:h.length], int(h.entries))
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(b[36:], crc)
	if _, err := f.WriteAt(b[:h.length], off); err != nil {
		t.Fatal(err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	mem := vfs.NewMem()
	cfg, st, _, places := written(t, mem)
	j, _ := Open(cfg, st)
	name := j.fileName(places[0].File)
	block := fileHead{seq: places[0].File, incarnation: 1}.encode()
	block[11] = formatVersion + 1
	sum := sumFileHead(block)
	block[24], block[25], block[26], block[27] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
	f, _ := mem.Open(name)
	if _, err := f.WriteAt(block, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, err := replay(cfg, st)
	var format *FormatError
	if !errors.As(err, &format) || format.File != name || format.Found != formatVersion+1 {
		t.Fatalf("error is %v, want a FormatError for %s", err, name)
	}
}
