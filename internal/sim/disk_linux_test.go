package sim

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var powercuts = flag.Int("faults.powercuts", 60, "power cuts of an ext4 file system")

// needRoot skips where nothing can be mounted, and says why.
func needRoot(t *testing.T, tools ...string) *Cell {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting file systems needs root")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	cell, err := NewCell()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(cell.Close)
	return cell
}

// TestFaultsPower cuts the power of a real file system.
func TestFaultsPower(t *testing.T) {
	needFaults(t)
	seed := theSeed()
	t.Logf("replay with: go test ./internal/sim %s", replay(seed))
	all, built := &reports{}, buildWeir(t)
	t.Cleanup(func() { t.Log("\n" + Table(all.all)) })
	for _, c := range []struct {
		name    string
		command Command
		share   int // percent of the cuts
	}{
		{"power, sync", WeirCommand(built, "sync"), 30},
		{"power, sync small files", smallCommand("sync"), 55},
		{"power, os small files", smallCommand("os"), 15},
	} {
		t.Run(strings.ReplaceAll(c.name, ", ", "_"), func(t *testing.T) {
			durability := Sync
			if strings.Contains(c.name, "os") {
				durability = OS
			}
			r := newRun(t, c.name, seed, durability, c.command)
			defer all.add(r.Report)
			powerRun(t, r, max(1, *powercuts*c.share/100))
		})
	}
}

func powerRun(t *testing.T, r *Run, cuts int) {
	t.Helper()
	cell := needRoot(t, "mkfs.ext4", "mount", "umount")
	disk, err := NewExt4(cell, t.TempDir(), 2<<30)
	if err != nil {
		t.Skipf("no ext4 on a loop device: %v", err)
	}
	t.Cleanup(func() {
		if err := disk.Unmount(); err != nil {
			t.Error(err)
		}
	})
	r.On(disk)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := r.Begin(ctx, LoadConfig{Weak: true, Members: 3, Churn: true}); err != nil {
		t.Fatal(err)
	}
	if err := r.PowerCuts(ctx, disk, cuts, 800*time.Millisecond); err != nil {
		t.Error(err)
	}
	if err := r.End(ctx); err != nil {
		t.Error(err)
	}
	judge(t, r.Report)
}

var episodes = flag.Int("faults.episodes", 20, "full disks, and as many failing system calls")

// TestFaultsFullDisk takes the space of a small file system away and gives it back.
func TestFaultsFullDisk(t *testing.T) {
	needFaults(t)
	seed := theSeed()
	t.Logf("replay with: go test ./internal/sim %s", replay(seed))
	all, built := &reports{}, buildWeir(t)
	t.Cleanup(func() { t.Log("\n" + Table(all.all)) })
	for _, c := range []struct {
		name    string
		command Command
		size    int64
	}{
		{"full disk", WeirCommand(built, "sync"), 640 << 20},
		{"full disk, small files", smallCommand("sync"), 256 << 20},
	} {
		t.Run(strings.ReplaceAll(c.name, ", ", "_"), func(t *testing.T) {
			r := newRun(t, c.name, seed, Sync, c.command)
			defer all.add(r.Report)
			fullRun(t, r, c.size, (*episodes+1)/2)
		})
	}
}

func fullRun(t *testing.T, r *Run, size int64, episodes int) {
	t.Helper()
	cell := needRoot(t)
	disk, err := NewTmpfs(cell, t.TempDir(), size)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := disk.Unmount(); err != nil {
			t.Error(err)
		}
	})
	r.On(disk)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := r.Begin(ctx, LoadConfig{Members: 2, Rate: 400}); err != nil {
		t.Fatal(err)
	}
	if err := r.FullDisk(ctx, disk, episodes); err != nil {
		t.Error(err)
	}
	if err := r.End(ctx); err != nil {
		t.Error(err)
	}
	judge(t, r.Report)
}

// TestFaultsFailingSync lets system calls fail by strace.
func TestFaultsFailingSync(t *testing.T) {
	needFaults(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip(err)
	}
	seed := theSeed()
	t.Logf("replay with: go test ./internal/sim %s", replay(seed))
	all, built := &reports{}, buildWeir(t)
	t.Cleanup(func() { t.Log("\n" + Table(all.all)) })
	for _, c := range []struct {
		name    string
		command Command
	}{
		{"failing calls", WeirCommand(built, "sync")},
		{"failing calls, small files", smallCommand("sync")},
	} {
		t.Run(strings.ReplaceAll(c.name, ", ", "_"), func(t *testing.T) {
			r := newRun(t, c.name, seed, Sync, c.command)
			defer all.add(r.Report)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if err := r.Begin(ctx, LoadConfig{Members: 2}); err != nil {
				t.Fatal(err)
			}
			if err := r.FailingDisk(ctx, c.command, (*episodes+1)/2); err != nil {
				t.Error(err)
			}
			if err := r.End(ctx); err != nil {
				t.Error(err)
			}
			judge(t, r.Report)
		})
	}
}
