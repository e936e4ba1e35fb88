package broker_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/vfs"
)

// askPage gets a page of the broker's handler.
func askPage(b *brokertest.Broker, path string) (int, string) {
	w := httptest.NewRecorder()
	b.Broker().Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+path, nil))
	body, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(body)
}

// TestReadOnlyOnFailure: after a sync failed, what is durable is read and told,
// by clients that come later too; writes are refused with KAFKA_STORAGE_ERROR,
// and what was in flight is neither acknowledged nor shown.
func TestReadOnlyOnFailure(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithReadOnlyOnFailure(), brokertest.WithLogger(slog.New(slog.DiscardHandler)))
	createTopic(t, b, "t", 1)
	cl := b.Client(kgo.DefaultProduceTopic("t"), kgo.RecordRetries(0), kgo.RequestRetries(0))
	for _, v := range []string{"a", "b"} {
		if err := cl.ProduceSync(within(t), kgo.StringRecord(v)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	adm := kadm.NewClient(cl)
	offsets := kadm.Offsets{}
	offsets.AddOffset("t", 0, 1, -1)
	if err := adm.CommitAllOffsets(within(t), "g", offsets); err != nil {
		t.Fatal(err)
	}

	b.Files().Add(vfs.Rule{Op: vfs.OpSync, Path: "/data/journal/*", Err: syscall.EIO})
	offsets.AddOffset("t", 0, 2, -1)
	if err := adm.CommitAllOffsets(within(t), "g", offsets); err == nil {
		t.Error("a commit that was not synced was acknowledged")
	}
	<-b.Broker().Failed()
	if err := cl.ProduceSync(within(t), kgo.StringRecord("c")).FirstErr(); !errors.Is(err, kerr.KafkaStorageError) && !errors.Is(err, kgo.ErrRecordRetries) {
		t.Errorf("produce: %v, want KAFKA_STORAGE_ERROR", err)
	}
	late := b.Client(kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for len(got) < 2 {
		fetches := late.PollFetches(within(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if strings.Join(got, " ") != "a b" {
		t.Errorf("read %v", got)
	}
	committed, err := kadm.NewClient(late).FetchOffsets(within(t), "g")
	if o, ok := committed.Lookup("t", 0); err != nil || !ok || o.At != 1 {
		t.Errorf("committed %+v, %v; want 1, which is durable", o, err)
	}
	if code, body := askPage(b, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "storage failed") {
		t.Errorf("/readyz: %d %q", code, body)
	}
	if code, body := askPage(b, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d %q", code, body)
	}
	if _, body := askPage(b, "/metrics"); !strings.Contains(body, "weir_storage_failed 1") {
		t.Error("the gauge does not tell")
	}
}

// TestReadyTellsOfTheReserve: on a full disk /readyz says why, and the gauges
// too; the broker is alive, and 5 s after space returned it is ready. What was
// being appended meanwhile is acknowledged then.
func TestReadyTellsOfTheReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		mem.SetCapacity(64 << 20)
		b := brokertest.Start(t, brokertest.WithFS(mem), brokertest.WithLogger(slog.New(slog.DiscardHandler)))
		createTopic(t, b, "t", 1)
		cl := b.Client(kgo.DefaultProduceTopic("t"))
		defer cl.Close()
		if code, body := askPage(b, "/readyz"); code != http.StatusOK {
			t.Fatalf("/readyz: %d %q", code, body)
		}
		filler, err := mem.Create("/filler")
		if err != nil {
			t.Fatal(err)
		}
		defer filler.Close()
		u, err := mem.Usage("/")
		if err != nil {
			t.Fatal(err)
		}
		if err := filler.Preallocate(0, u.Free); err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1000)
		for range cap(failed) {
			cl.Produce(t.Context(), kgo.StringRecord(strings.Repeat("x", 5000)), func(_ *kgo.Record, err error) { failed <- err })
		}
		time.Sleep(10 * time.Second)
		if code, body := askPage(b, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "below the reserve") {
			t.Errorf("/readyz: %d %q", code, body)
		}
		if code, _ := askPage(b, "/healthz"); code != http.StatusOK {
			t.Errorf("/healthz: %d", code)
		}
		if _, body := askPage(b, "/metrics"); !strings.Contains(body, "weir_disk_reserve_ok 0") || !strings.Contains(body, "weir_disk_free_bytes") {
			t.Error("the gauges do not tell")
		}
		if err := filler.Truncate(0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if code, body := askPage(b, "/readyz"); code != http.StatusOK {
			t.Errorf("/readyz 5 s after space returned: %d %q", code, body)
		}
		for range cap(failed) {
			if err := <-failed; err != nil {
				t.Fatalf("after space returned: %v", err)
			}
		}
	})
}
