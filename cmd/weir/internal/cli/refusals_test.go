package cli

import (
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/vfs"
)

// fullDisk starts a broker with topic t whose disk is then filled up.
func fullDisk(t *testing.T) *brokertest.Broker {
	t.Helper()
	mem := vfs.NewMem()
	mem.SetCapacity(64 << 20)
	b := brokertest.Start(t, brokertest.WithFS(mem), brokertest.WithLogger(slog.New(slog.DiscardHandler)))
	mustRun(t, against(b), "topic create t -p 1")
	filler, err := mem.Create("/filler")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = filler.Close() })
	u, err := mem.Usage("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := filler.Preallocate(0, u.Free); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestProduceNamesTheBrokersError: a broker that answers is not one that does
// not, and what it answers is told after --timeout.
func TestProduceNamesTheBrokersError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := against(fullDisk(t))
		env.Stdin = strings.NewReader(strings.Repeat(strings.Repeat("x", 5000)+"\n", 1000))
		begin := time.Now()
		r := run(t.Context(), env, "produce", "t")
		if r.code != ExitFailed || !strings.Contains(r.errOut, "not acknowledged: the broker answers again and again: KAFKA_STORAGE_ERROR") {
			t.Errorf("code %d, said %q", r.code, r.errOut)
		}
		if took := time.Since(begin); took > 12*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// TestConsumeNamesTheCoordinatorsError: within --timeout it is tried again. The
// coordinator's topic cannot be made, because the storage has failed; on a full disk it can.
// It ends before the client commits for the first time, after 5 s: that waits for a mutex
// that the client holds while it tries to join, which stops virtual time.
func TestConsumeNamesTheCoordinatorsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t, brokertest.WithReadOnlyOnFailure(), brokertest.WithLogger(slog.New(slog.DiscardHandler)))
		mustRun(t, against(b), "topic create t -p 1")
		b.Files().Add(vfs.Rule{Op: vfs.OpSync, Path: "/data/journal/*", Err: syscall.EIO})
		if r := run(t.Context(), against(b), "topic", "create", "another", "-p", "1"); r.code == ExitOK {
			t.Fatal("a topic is made, though nothing can be synced")
		}
		// Connections end until what was not durable is forgotten.
		for r := run(t.Context(), against(b), "topic", "list"); r.code != ExitOK; {
			r = run(t.Context(), against(b), "topic", "list")
		}
		begin := time.Now()
		r := run(t.Context(), against(b), "consume", "t", "-g", "g", "--timeout", "1s")
		if r.code != ExitFailed || !strings.Contains(r.errOut, "group g: the broker has not been able to coordinate it for 1s") {
			t.Errorf("code %d, said %q", r.code, r.errOut)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// TestRefusals: only what is refused since the last acknowledgement counts, and
// the client's debug log is on only while none comes.
func TestRefusals(t *testing.T) {
	now := time.Unix(0, 0)
	r := newRefusals(5*time.Second, func() time.Time { return now })
	if r.Level() != kgo.LogLevelNone {
		t.Error("it listens from the start")
	}
	now = now.Add(time.Second)
	if r.Level() != kgo.LogLevelDebug {
		t.Error("it does not listen after a second without an acknowledgement")
	}
	r.Log(kgo.LogLevelDebug, "produced", "to", "t[0{retrying@-1,3(KAFKA_STORAGE_ERROR: Disk error when trying.)}]")
	if err := r.cause(); err == nil || !strings.Contains(err.Error(), "KAFKA_STORAGE_ERROR") {
		t.Errorf("cause: %v", err)
	}
	r.Log(kgo.LogLevelWarn, "unable to load", "err", kerr.CoordinatorLoadInProgress)
	if err := r.cause(); err == nil || !strings.Contains(err.Error(), "COORDINATOR_LOAD_IN_PROGRESS") {
		t.Errorf("cause: %v", err)
	}
	if r.acknowledged(); r.cause() != nil || r.Level() != kgo.LogLevelNone {
		t.Error("an acknowledgement does not end it")
	}
	r.Log(kgo.LogLevelDebug, "produced", "to", "retrying@0,1(NO_SUCH_NAME: x)", "n", 1, "err", io.EOF)
	if r.cause() != nil {
		t.Errorf("cause: %v", r.cause())
	}
}
