package broker_test

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/vfs"
)

// TestStartOnAFullDisk: a broker that is killed and finds no byte free when it
// starts serves what is durable, records and committed offsets, refuses writes with
// an error that clients retry, and accepts them within 5 s after space returned.
func TestStartOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		mem.SetCapacity(64 << 20)
		quiet := brokertest.WithLogger(slog.New(slog.DiscardHandler))
		first := brokertest.Start(t, brokertest.WithFS(mem), quiet)
		createTopic(t, first, "t", 1)
		mustProduce(t, dialBubble(t, first), "t", 3)
		offsets := kadm.Offsets{}
		offsets.AddOffset("t", 0, 2, -1)
		if err := kadm.NewClient(first.Client()).CommitAllOffsets(within(t), "g", offsets); err != nil {
			t.Fatal(err)
		}
		disk := mem.CrashClone(rand.New(rand.NewPCG(1, 1)), vfs.CrashOptions{KeepUnsynced: true})
		filler, err := disk.Create("/filler")
		if err != nil {
			t.Fatal(err)
		}
		defer filler.Close()
		u, err := disk.Usage("/")
		if err != nil {
			t.Fatal(err)
		}
		if err := filler.Preallocate(0, u.Free); err != nil {
			t.Fatal(err)
		}
		b := brokertest.Start(t, brokertest.WithFS(disk), quiet)
		c := dialBubble(t, b)
		if p := fetched(ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", 0, 0))); p.ErrorCode != 0 || p.HighWatermark != 3 || len(p.RecordBatches) == 0 {
			t.Errorf("read: code %d, high watermark %d, %d bytes", p.ErrorCode, p.HighWatermark, len(p.RecordBatches))
		}
		committed, err := kadm.NewClient(b.Client()).FetchOffsets(within(t), "g")
		if o, ok := committed.Lookup("t", 0); err != nil || !ok || o.At != 2 {
			t.Errorf("committed %+v, %v; want 2", o, err)
		}
		time.Sleep(5 * time.Second)
		p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, records(1))))
		if err := kerr.ErrorForCode(p.ErrorCode); p.ErrorCode == 0 || !kerr.IsRetriable(err) {
			t.Errorf("write: %v, want an error that is retried", err)
		}
		if code, body := askPage(b, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "reserve") {
			t.Errorf("/readyz: %d %q", code, body)
		}
		if err := filler.Truncate(0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		mustProduce(t, c, "t", 1)
		if code, body := askPage(b, "/readyz"); code != http.StatusOK {
			t.Errorf("/readyz 5 s after space returned: %d %q", code, body)
		}
	})
}
