package journal

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

func dir(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.ReadDir(testDir)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == newestName })
}

// fill appends n frames of 3,000 bytes: three or four to a file.
func fill(t *testing.T, j *Journal, n int) {
	t.Helper()
	for i := range n {
		durable(t, j, put(t, j, newEntry(0, int64(i), 3000)))
	}
}

func TestReleasedFilesAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		faulty := vfs.Inject(mem)
		j, st, _ := start(t, testConfig(faulty), State{})
		for range 30 {
			for range 5 {
				fill(t, j, 1)
				synctest.Wait() // the spare that the next frame may need is there
			}
			pos := j.Next()
			st = j.StateAt(pos)
			j.Release(pos)
			synctest.Wait()
			if names := dir(t, mem); len(names) > 1+maxSpares {
				t.Fatalf("files are %v, want at most the current one and %d spares", names, maxSpares)
			}
			if live := j.Live(); live != 0 {
				t.Fatalf("%d bytes live right after a release", live)
			}
		}
		if got := faulty.Count(vfs.OpCreate); got > 25 {
			t.Errorf("%d files were made for 150 frames that fill 50", got)
		}
		fill(t, j, 2)
		closed(t, j)
		_, frames, err := replay(testConfig(mem), st)
		if err != nil || len(frames) != 2 {
			t.Errorf("replayed %v, %v, want the two frames behind the checkpoint", frames, err)
		}
	})
}

func TestNothingIsRecycledBeforeItIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		j, st, _ := start(t, testConfig(mem), State{})
		fill(t, j, 20)
		synctest.Wait()
		if live := j.Live(); live < 60_000 || live > 7*16<<10 {
			t.Errorf("%d bytes live after 20 frames of 3,000", live)
		}
		closed(t, j)
		if _, frames, err := replay(testConfig(mem), st); err != nil || len(frames) != 20 {
			t.Errorf("replayed %d frames, %v, want 20", len(frames), err)
		}
	})
}

func TestSpareIsMadeOnlyOnceAQuarterIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		cfg := testConfig(mem)
		cfg.FileBytes, cfg.Zero = 32<<10, true
		j, _, _ := start(t, cfg, State{})
		fill(t, j, 1)
		synctest.Wait()
		if names := dir(t, mem); len(names) != 1 {
			t.Errorf("files are %v after one frame, want one", names)
		}
		fill(t, j, 1)
		synctest.Wait()
		if names := dir(t, mem); len(names) != 2 || !strings.HasSuffix(names[1], spareEnding) {
			t.Errorf("files are %v after a quarter, want a spare too", names)
		}
		info, err := mem.Stat(testDir + "/1.spare")
		if err != nil || info.Size != cfg.FileBytes {
			t.Errorf("the spare has %d bytes, %v", info.Size, err)
		}
		closed(t, j)
		if _, err := Open(cfg, State{}); err != nil {
			t.Fatal(err)
		}
		if names := dir(t, mem); slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, spareEnding) }) {
			t.Errorf("Open left %v", names)
		}
	})
}

// A spare that does not fit is forgiven. When the writer needs the file, it asks
// for what can be given back, and waits for room.
func TestFullDiskIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.Inject(vfs.NewMem())
		cfg := testConfig(faulty)
		cfg.FileBytes = 32 << 10
		asked := 0
		cfg.Full = func() { asked++ }
		j, _, _ := start(t, cfg, State{})
		fill(t, j, 1)
		faulty.Add(vfs.Rule{Op: vfs.OpPreallocate, Err: syscall.ENOSPC})
		fill(t, j, 1)
		synctest.Wait()
		if err := j.Err(); err != nil {
			t.Fatalf("a spare that did not fit stopped the journal: %v", err)
		}
		if names := dir(t, faulty); len(names) != 1 {
			t.Errorf("files are %v, want the half made spare removed", names)
		}
		fill(t, j, 1)
		s := put(t, j, newEntry(0, 0, 20000))
		time.Sleep(time.Minute)
		if j.Err() != nil || j.Durable() >= s.lsn || asked != 1 {
			t.Fatalf("without room: %v, durable %d of %d, asked %d times", j.Err(), j.Durable(), s.lsn, asked)
		}
		faulty.Clear()
		time.Sleep(retryFull)
		if err := j.WaitDurable(t.Context(), s.lsn); err != nil {
			t.Errorf("with room again: %v", err)
		}
		closed(t, j)
	})
}

// Close ends the wait for room, and what waits is not durable.
func TestFullDiskCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.Inject(vfs.NewMem())
		cfg := testConfig(faulty)
		cfg.FileBytes = 32 << 10
		j, _, _ := start(t, cfg, State{})
		fill(t, j, 1)
		faulty.Add(vfs.Rule{Op: vfs.OpPreallocate, Err: syscall.ENOSPC})
		fill(t, j, 2)
		s := put(t, j, newEntry(0, 0, 20000))
		synctest.Wait()
		closing := make(chan error, 1)
		go func() { closing <- j.Close() }()
		if err := j.WaitDurable(t.Context(), s.lsn); err == nil {
			t.Error("a frame that had no file became durable")
		}
		if err := <-closing; err == nil {
			t.Error("Close told no failure")
		}
	})
}
