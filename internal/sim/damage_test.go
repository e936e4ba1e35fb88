package sim

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dataDir makes a directory with the files that a broker has.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"format": "weir data 1\n", "checkpoint": strings.Repeat("c", 300), "ballast": "b", "lock": "",
		"journal/1.journal": "jj", "journal/2.journal": strings.Repeat("j", 2000) + strings.Repeat("\x00", 5000),
		"topics/a/0-0.log": strings.Repeat("s", 3000), "topics/a/0-0.index": strings.Repeat("i", 48),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func content(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return b
}

// TestDamageIsDoneAndUndone: each place changes its file and no other, in bytes
// that are in use; Undo and Restore take it back.
func TestDamageIsDoneAndUndone(t *testing.T) {
	dir := dataDir(t)
	s, err := TakeSnapshot(dir)
	if err != nil {
		t.Fatal(err)
	}
	random, how := rand.New(rand.NewPCG(1, 1)), map[string]int{}
	for range 500 {
		if err := s.Restore(dir); err != nil {
			t.Fatal(err)
		}
		p := s.Pick(random)
		how[p.How+" "+string(p.Class)]++
		if err := s.Damage(dir, p); err != nil {
			t.Fatalf("%v: %v", p, err)
		}
		for name, b := range s.files {
			if same := bytes.Equal(b, content(t, dir, name)); same != (name != p.File) {
				t.Fatalf("%v: %s is the same: %v", p, name, same)
			}
		}
		if p.At >= used(s.files[p.File]) {
			t.Fatalf("%v: behind the bytes in use", p)
		}
		if random.IntN(2) == 0 {
			err = s.Undo(dir, p)
		} else {
			err = s.Restore(dir)
		}
		if err != nil || !bytes.Equal(s.files[p.File], content(t, dir, p.File)) {
			t.Fatalf("%v: not taken back: %v", p, err)
		}
	}
	for _, want := range []string{"flip segment", "flip journal", "flip index", "flip checkpoint", "cut segment", "cut journal", "zero segment", "remove segment", "remove journal"} {
		if how[want] == 0 {
			t.Errorf("no %s among %v", want, how)
		}
	}
}

// TestRestore removes what came, brings back what went, and leaves alone what
// nobody touched.
func TestRestore(t *testing.T) {
	dir := dataDir(t)
	s, err := TakeSnapshot(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.files) != 6 {
		t.Errorf("%d files, want all but ballast and lock", len(s.files))
	}
	if err := s.Restore(dir); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(filepath.Join(dir, "format"))
	if err := os.Remove(filepath.Join(dir, "checkpoint")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "topics/a/0-9.log"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Restore(dir); err != nil {
		t.Fatal(err)
	}
	after, _ := os.Stat(filepath.Join(dir, "format"))
	if len(content(t, dir, "checkpoint")) != 300 || len(content(t, dir, "topics/a/0-9.log")) != 0 || len(content(t, dir, "ballast")) != 1 {
		t.Error("the directory is not what it was")
	}
	if !before.ModTime().Equal(after.ModTime()) {
		t.Error("a file that nobody touched was written")
	}
}

func TestPercentileAndTable(t *testing.T) {
	r := &Report{Name: "x", Acked: 7}
	for i := range 100 {
		r.Recovery = append(r.Recovery, time.Duration(100-i)*time.Millisecond)
	}
	if p50, p99 := Percentile(r.Recovery, 50), Percentile(r.Recovery, 99); p50.Milliseconds() != 51 || p99.Milliseconds() != 100 {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
	if Percentile(nil, 50) != 0 {
		t.Error("a percentile of nothing")
	}
	l := NewLedger(Sync)
	l.Add(Garbled{p0, 1, "?"})
	r.Take(l)
	r.Fault("kill")
	r.Fault("kill")
	if table := Table([]*Report{r}); r.Found() != 1 || !strings.Contains(table, "kill 2") || !strings.Contains(table, "phantom: 1") || !strings.Contains(table, "51/100/100") {
		t.Errorf("%d found:\n%s", r.Found(), table)
	}
}
