package broker_test

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker"
	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/vfs"
)

// promises are the rows of the README's table of what an acknowledgement means.
var promises = []struct {
	row        string
	acks       int16
	durability string
	cells      [4]string // process killed, power lost, disk full, disk lost
}{
	{"`acks=all` (the default of current clients)", -1, "sync", [4]string{"kept", "**kept**", "refused, not lost", "lost: keep a backup"}},
	{"`acks=all` with `--durability os`", -1, "os", [4]string{"kept", "what was not written back is lost", "refused, not lost", "lost"}},
	{"`acks=1`", 1, "sync", [4]string{"kept", "what was not synced is lost", "refused, not lost", "lost"}},
	{"`acks=0`", 0, "sync", [4]string{"not acknowledged", "not acknowledged", "not acknowledged", "not acknowledged"}},
}

// TestDurabilityTable tests the README's table line by line: each cell is what
// happens to a broker, and the table has no other rows. With real processes and
// disks internal/sim does the same.
func TestDurabilityTable(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| | process killed | power lost | disk full | disk lost |\n|---|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(strings.TrimSpace(table), "\n")
	if !ok || len(rows) != len(promises) {
		t.Fatalf("the README's table has %d rows, %d are tested", len(rows), len(promises))
	}
	for i, p := range promises {
		if want := "| " + p.row + " | " + strings.Join(p.cells[:], " | ") + " |"; rows[i] != want {
			t.Errorf("the README says\n%s\nand tested is\n%s", rows[i], want)
		}
		t.Run(p.row, func(t *testing.T) {
			if p.acks == 0 {
				testNotAcknowledged(t)
				return
			}
			a := acknowledge(t, p.acks, p.durability)
			t.Run("process killed", func(t *testing.T) {
				if n := a.left(t, a.disk.CrashClone(rand.New(rand.NewPCG(1, 1)), vfs.CrashOptions{KeepUnsynced: true})); n != a.count {
					t.Errorf("%d of %d records are kept", n, a.count)
				}
			})
			t.Run("power lost", func(t *testing.T) { a.testPowerLost(t, strings.Contains(p.cells[1], "kept")) })
			t.Run("disk lost", a.testDiskLost)
			t.Run("disk full", a.testDiskFull)
		})
	}
}

// acknowledged is a broker that has acknowledged some records.
type acknowledged struct {
	acks       int16
	durability string
	count      int64
	disk       *vfs.Mem
	broker     *brokertest.Broker
	syncs      *heldSyncs
}

// acknowledge has a broker acknowledge records; with acks=1 while the journal's
// sync hangs, which it does not wait for.
func acknowledge(t *testing.T, acks int16, durability string) *acknowledged {
	a := &acknowledged{acks: acks, durability: durability, count: 5, disk: vfs.NewMem()}
	a.syncs = &heldSyncs{FS: a.disk, gate: make(chan struct{})}
	a.broker = start(t, a.syncs, durability)
	t.Cleanup(a.syncs.release)
	createTopic(t, a.broker, "t", 1)
	a.syncs.held.Store(acks == 1)
	c := dial(t, a.broker)
	for range a.count {
		if p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, acks, "t", 0, records(1)))); p.ErrorCode != 0 {
			t.Fatalf("not acknowledged: code %d", p.ErrorCode)
		}
	}
	return a
}

func start(t *testing.T, fs vfs.FS, durability string) *brokertest.Broker {
	return brokertest.Start(t, brokertest.WithFS(fs), brokertest.WithDurability(durability), brokertest.WithLogger(slog.New(slog.DiscardHandler)))
}

// left starts a broker on what is left of a disk and counts the records there.
func (a *acknowledged) left(t *testing.T, disk *vfs.Mem) int64 {
	p := fetched(ask[*kmsg.FetchResponse](dial(t, start(t, disk, a.durability)), fetchRequest(12, "t", 0, 0)))
	switch {
	case p.ErrorCode == kerr.UnknownTopicOrPartition.Code:
		return 0
	case p.ErrorCode != 0 || (p.HighWatermark > 0) != (len(p.RecordBatches) > 0):
		t.Errorf("read: code %d, high watermark %d, %d bytes", p.ErrorCode, p.HighWatermark, len(p.RecordBatches))
	}
	return p.HighWatermark
}

// testPowerLost: what is promised survives every cut; what is not promised is
// lost in some, else the table would say too little.
func (a *acknowledged) testPowerLost(t *testing.T, kept bool) {
	lost := 0
	for seed := range uint64(16) {
		if a.left(t, a.disk.CrashClone(rand.New(rand.NewPCG(seed, 1)), vfs.CrashOptions{})) < a.count {
			lost++
		}
	}
	if kept && lost > 0 || !kept && lost == 0 {
		t.Errorf("records were lost in %d of 16 power cuts", lost)
	}
}

// testDiskLost: nothing is left but what a backup holds.
func (a *acknowledged) testDiskLost(t *testing.T) {
	a.syncs.release()
	var archive bytes.Buffer
	if err := a.broker.Broker().Backup(within(t), &archive); err != nil {
		t.Fatal(err)
	}
	if n := a.left(t, vfs.NewMem()); n != 0 {
		t.Errorf("%d records on a new disk", n)
	}
	disk := vfs.NewMem()
	if _, err := broker.Restore(within(t), disk, &archive, "/data"); err != nil {
		t.Fatal(err)
	}
	if n := a.left(t, disk); n != a.count {
		t.Errorf("%d of %d records are in the backup", n, a.count)
	}
}

// testDiskFull: what comes is refused with an error that clients retry, what was
// acknowledged is there, and so it goes on when there is space.
func (a *acknowledged) testDiskFull(t *testing.T) {
	a.syncs.release()
	a.broker.Files().Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Count: 1, Err: syscall.ENOSPC})
	c := dial(t, a.broker)
	p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, a.acks, "t", 0, records(1))))
	if err := kerr.ErrorForCode(p.ErrorCode); p.ErrorCode == 0 || !kerr.IsRetriable(err) {
		t.Errorf("on a full disk: %v, want an error that is retried", err)
	}
	f := fetched(ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", 0, 0)))
	if f.ErrorCode != 0 || f.HighWatermark != a.count {
		t.Errorf("on a full disk: code %d, %d of %d records", f.ErrorCode, f.HighWatermark, a.count)
	}
}

// testNotAcknowledged: the answer that comes is that to the next request.
func testNotAcknowledged(t *testing.T) {
	b := start(t, vfs.NewMem(), "sync")
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	c.send(produceRequest(9, 0, "t", 0, records(1)))
	if p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, records(1)))); p.ErrorCode != 0 {
		t.Errorf("code %d", p.ErrorCode)
	}
	b.Files().Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Err: syscall.ENOSPC})
	c.send(produceRequest(9, 0, "t", 0, records(1)))
	c.wantClosed()
}

// heldSyncs is a file system whose syncs of the journal hang while they are held.
type heldSyncs struct {
	vfs.FS
	held atomic.Bool
	gate chan struct{}
}

// release lets all syncs go on, for good.
func (h *heldSyncs) release() {
	if h.held.Swap(false) {
		close(h.gate)
	}
}

func (h *heldSyncs) Create(name string) (vfs.File, error) { return h.wrap(name)(h.FS.Create(name)) }
func (h *heldSyncs) Open(name string) (vfs.File, error)   { return h.wrap(name)(h.FS.Open(name)) }

func (h *heldSyncs) wrap(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err != nil || !strings.HasSuffix(name, ".journal") {
			return f, err
		}
		return heldFile{f, h}, nil
	}
}

type heldFile struct {
	vfs.File
	h *heldSyncs
}

func (f heldFile) Sync() error {
	if f.h.held.Load() {
		<-f.h.gate
	}
	return f.File.Sync()
}
