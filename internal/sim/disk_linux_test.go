package sim

import (
	"context"
	"flag"
	"os"
	"os/exec"
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

// power cuts the power of a real file system.
func (s *suite) power(t *testing.T) {
	for _, c := range []struct {
		name    string
		d       Durability
		command Command
		percent int // of the cuts
	}{
		{"power, sync", Sync, WeirCommand(s.built, "sync"), 35},
		{"power, sync, small files", Sync, smallCommand("sync"), 50},
		{"power, os, small files", OS, smallCommand("os"), 15},
	} {
		s.run(t, c.name, c.d, c.command, func(t *testing.T, r *Run) { powerRun(t, r, max(1, *powercuts*c.percent/100)) })
	}
}

func powerRun(t *testing.T, r *Run, cuts int) {
	t.Helper()
	cell := needRoot(t, "mkfs.ext4", "mount", "umount")
	disk, err := NewExt4(cell, t.TempDir(), 8<<30)
	if err != nil {
		t.Skipf("no ext4 on a loop device: %v", err)
	}
	load := LoadConfig{Weak: true, Members: 3}
	if r.Ledger.durability == Sync {
		// With durability os a power cut may take a topic, and its records then find none;
		// and it may take who a producer is, after which franz-go may wait for ever for
		// the answer to a record of a transaction.
		load.Churn, load.Transactional = true, 2
	}
	onDisk(t, r, disk, load, func(ctx context.Context) error {
		return r.PowerCuts(ctx, disk, cuts, 800*time.Millisecond)
	})
}

// onDisk runs a load on the disk with faults and judges.
func onDisk(t *testing.T, r *Run, disk *Disk, load LoadConfig, faults func(ctx context.Context) error) {
	t.Helper()
	t.Cleanup(func() {
		if err := disk.Unmount(); err != nil {
			t.Error(err)
		}
	})
	r.On(disk)
	withLoad(t, r, load, faults)
}

var episodes = flag.Int("faults.episodes", 20, "full disks, and as many failing system calls")

// fullDisk takes the space of a small file system away and gives it back.
func (s *suite) fullDisk(t *testing.T) {
	for _, c := range []struct {
		name    string
		command Command
		size    int64
	}{
		{"full disk", WeirCommand(s.built, "sync"), 640 << 20},
		{"full disk, small files", smallCommand("sync"), 256 << 20},
	} {
		s.run(t, c.name, Sync, c.command, func(t *testing.T, r *Run) {
			disk, err := NewTmpfs(needRoot(t), t.TempDir(), c.size)
			if err != nil {
				t.Skip(err)
			}
			onDisk(t, r, disk, LoadConfig{Members: 2, Rate: 400, Transactional: 2}, func(ctx context.Context) error {
				return r.FullDisk(ctx, disk, (*episodes+1)/2)
			})
		})
	}
}

// failingCalls lets system calls fail by strace.
func (s *suite) failingCalls(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		name    string
		command Command
	}{
		{"failing calls", WeirCommand(s.built, "sync")},
		{"failing calls, small files", smallCommand("sync")},
	} {
		s.run(t, c.name, Sync, c.command, func(t *testing.T, r *Run) {
			withLoad(t, r, LoadConfig{Members: 2, Transactional: 2}, func(ctx context.Context) error {
				return r.FailingDisk(ctx, c.command, (*episodes+1)/2)
			})
		})
	}
}
