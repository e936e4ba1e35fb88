package broker

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

func encode(req kmsg.Request, correlation int32) []byte {
	return kmsg.NewRequestFormatter().AppendRequest(nil, req, correlation)
}

func mustWrite(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// decodeAnswer reads an answer and decodes it.
func decodeAnswer[R kmsg.Response](t *testing.T, c net.Conn, resp R, version int16) R {
	t.Helper()
	body := readAnswer(t, c)
	resp.SetVersion(version)
	skip := 4
	if resp.IsFlexible() {
		skip++
	}
	if err := resp.ReadFrom(body[skip:]); err != nil {
		t.Fatal(err)
	}
	return resp
}

// mustCreate makes a topic of a broker under test.
func mustCreate(t *testing.T, b *Broker, partitions int32) {
	t.Helper()
	if _, _, err := b.metadata.create(t.Context(), "t", partitions, nil); err != nil {
		t.Fatal(err)
	}
}

func aboutT() []byte {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 7
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr("t")
	req.Topics = append(req.Topics, topic)
	return encode(req, 1)
}

// TestUnreadAnswersAreBounded over all connections together: when clients leave
// too much unread, the next large answer is not made, and small ones are.
func TestUnreadAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		mustCreate(t, b, 1000)
		b.answers = newBudget(600 << 10) // an answer takes 44 KB, and 256 KB while it is made
		var lazy []net.Conn
		for range 12 {
			c := fuzzDial(t, b)
			lazy = append(lazy, c)
			go func() {
				for range 3 {
					if _, err := c.Write(aboutT()); err != nil {
						return
					}
				}
			}()
		}
		synctest.Wait()
		if n := b.answers.inUse(); n < 256<<10 || n > 600<<10 {
			t.Errorf("%d bytes are counted", n)
		}
		late := fuzzDial(t, b)
		if err := late.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, late, aboutT())
		begun := time.Now()
		if _, err := late.Read(make([]byte, 1)); err == nil || time.Since(begun) < budgetWait {
			t.Errorf("a large answer beyond the budget: %v after %v", err, time.Since(begun))
		}
		askVersions(t, fuzzDial(t, b))
		for _, c := range lazy {
			c.Close()
		}
		synctest.Wait()
		if n := b.answers.inUse(); n != 0 {
			t.Errorf("%d bytes are counted when all are gone", n)
		}
		c := fuzzDial(t, b)
		mustWrite(t, c, aboutT())
		if resp := decodeAnswer(t, c, kmsg.NewPtrMetadataResponse(), 7); len(resp.Topics[0].Partitions) != 1000 {
			t.Error("no answer, though there is room again")
		}
		synctest.Wait()
		if n := b.answers.inUse(); n != 0 {
			t.Errorf("%d bytes are counted when all was read", n)
		}
	})
}

// TestPartsOfAnAnswerAreCounted: shards that have no room for their part refuse
// it, and nothing of it stays counted.
func TestPartsOfAnAnswerAreCounted(t *testing.T) {
	c := &call{ctx: t.Context(), conn: &conn{b: &Broker{answers: newBudget(100 << 10)}}, slot: &slot{ready: make(chan struct{}, 1)}}
	for range 3 {
		if err := c.tryReserve(30 << 10); err != nil {
			t.Fatal(err)
		}
	}
	if used, want := c.conn.b.answers.inUse(), int64(90<<10-freeAnswer); used != want {
		t.Errorf("%d bytes are counted, want %d", used, want)
	}
	if err := c.tryReserve(30 << 10); !errors.Is(err, errNoRoom) || noRoomCode(err) != kerr.CoordinatorNotAvailable.Code {
		t.Errorf("no room: %v", err)
	}
	if err := c.tryReserve(maxAnswer); !errors.Is(err, errAnswerSize) || noRoomCode(err) != kerr.InvalidRequest.Code {
		t.Errorf("too large: %v", err)
	}
	c.slot.buf = make([]byte, 20<<10)
	c.conn.answered(c.slot)
	if used, want := c.conn.b.answers.inUse(), int64(20<<10-freeAnswer); used != want {
		t.Errorf("the answer is there: %d bytes are counted, want %d", used, want)
	}
	c.conn.uncount(20 << 10)
	if used := c.conn.b.answers.inUse(); used != 0 {
		t.Errorf("the answer is written: %d bytes are counted", used)
	}
}

// TestAnswerNobodyReserved: what is filled without room ends its connection when it
// is its turn, and takes no memory until then.
func TestAnswerNobodyReserved(t *testing.T) {
	c := &conn{b: &Broker{answers: newBudget(1 << 10)}}
	s := &slot{ready: make(chan struct{}, 1), buf: make([]byte, freeAnswer)}
	c.answered(s)
	next := &slot{ready: make(chan struct{}, 1), buf: make([]byte, 2<<10)}
	c.answered(next)
	if s.refused != nil || !errors.Is(next.refused, errNoRoom) || next.buf != nil || len(next.ready) != 1 {
		t.Errorf("within the connection's share: %v; beyond: %v", s.refused, next.refused)
	}
	if n := c.b.answers.inUse(); n != 0 || c.pending.Load() != freeAnswer {
		t.Errorf("%d bytes are counted, %d pending", n, c.pending.Load())
	}
}

// TestDecodingBudget: a request whose decoding may take much waits until there is
// room for it; a small one does not.
func TestDecodingBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		if err := b.decoding.acquire(t.Context(), b.decoding.total); err != nil {
			t.Fatal(err)
		}
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.Version, req.CoordinatorKey = 1, strings.Repeat("k", 2*freeDecoding)
		c := fuzzDial(t, b)
		mustWrite(t, c, encode(req, 1))
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			decodeAnswer(t, c, kmsg.NewPtrFindCoordinatorResponse(), 1)
		}()
		synctest.Wait()
		select {
		case <-answered:
			t.Error("decoded without room")
		default:
		}
		askVersions(t, fuzzDial(t, b))
		b.decoding.release(b.decoding.total)
		<-answered
		synctest.Wait()
		if n := b.decoding.inUse(); n != 0 {
			t.Errorf("%d bytes stay counted", n)
		}
	})
}

// TestMailboxesAreCounted: what waits for a shard counts in the budget of decoding.
func TestMailboxesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		if _, err := b.coordinator.ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		b.coordinator.shardOf("g").send(t.Context(), task{
			step: func(*shard, time.Time) func(storage.LSN) { <-gate; return nil },
			fail: func(int16) {},
		})
		c := fuzzDial(t, b)
		req := joinRequest("g")
		req.Protocols[0].Metadata = make([]byte, 10<<10)
		mustWrite(t, c, encode(req, 1))
		synctest.Wait()
		if n := b.decoding.inUse(); n < 10<<10 {
			t.Errorf("%d bytes are counted for a join in a mailbox", n)
		}
		close(gate)
		decodeAnswer(t, c, kmsg.NewPtrJoinGroupResponse(), req.Version)
		synctest.Wait()
		if n := b.decoding.inUse(); n != 0 {
			t.Errorf("%d bytes stay counted", n)
		}
	})
}

// TestShardPanicsAreCounted in weir_panics_total, as those of connections are.
func TestShardPanicsAreCounted(t *testing.T) {
	b := openForTest(t)
	if _, err := b.coordinator.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	failed := make(chan int16, 1)
	b.coordinator.shardOf("g").send(t.Context(), task{
		step: func(*shard, time.Time) func(storage.LSN) { panic("a defect") },
		fail: func(code int16) { failed <- code },
	})
	<-failed
	if n := panics(t, b); n != 1 {
		t.Errorf("weir_panics_total is %v", n)
	}
}

// panickyLog is a shard's log that panics.
type panickyLog struct {
	fakeLog
	inAppend, inPart bool
}

func (l *panickyLog) append(ctx context.Context, records []group.Record, now time.Time) (storage.LSN, error) {
	if l.inAppend {
		panic("a defect")
	}
	return l.fakeLog.append(ctx, records, now)
}

func (l *panickyLog) part(records []group.Record, now time.Time) storage.Append {
	if l.inPart {
		panic("a defect")
	}
	return l.fakeLog.part(records, now)
}

// TestDeletionOutlivesAPanic: the deleter, who holds the metadata store's token,
// is answered wherever the shard panics.
func TestDeletionOutlivesAPanic(t *testing.T) {
	for name, set := range map[string]func(*panickyLog){
		"while it holds": func(l *panickyLog) { l.inPart = true },
		"before it does": func(l *panickyLog) { l.inAppend = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &panickyLog{}
				c := testCoordinator(t, log, nil)
				commitNow(t, c, "g", 5)
				set(log)
				// The shard finds a commit and the hold in its mailbox together.
				gate := make(chan struct{})
				s := c.shardOf("g")
				s.send(t.Context(), task{step: func(*shard, time.Time) func(storage.LSN) { <-gate; return nil }, fail: func(int16) {}})
				if log.inAppend {
					req := commitRequest("g", "t", 6)
					c.offsetCommit(newTestCall(req), req)
				}
				deleted := make(chan error, 1)
				go func() {
					_, err := c.deleteTopic(t.Context(), "t", func([]storage.Append) (storage.LSN, error) { return 1, nil })
					deleted <- err
				}()
				synctest.Wait()
				close(gate)
				if err := <-deleted; !errors.Is(err, kerr.CoordinatorNotAvailable) {
					t.Errorf("the deleter is told: %v", err)
				}
				*log = panickyLog{}
			})
		})
	}
}

// TestCloseWaitsForWhoStarts: shards that are being started when the coordinator
// closes are ended, too.
func TestCloseWaitsForWhoStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		c := unstartedCoordinator(t, &fakeLog{}, nil)
		c.cfg.open = func(*meta.Topic, int32) shardLog { <-gate; return &fakeLog{} }
		started := make(chan error, 1)
		go func() { _, err := c.ensure(context.Background()); started <- err }()
		synctest.Wait()
		closed := make(chan struct{})
		go func() { c.close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("closed while shards are being started")
		default:
		}
		close(gate)
		<-started
		<-closed
		if _, err := c.ensure(context.Background()); !errors.Is(err, errCoordinatorClosed) && c.shards.Load() == nil {
			t.Errorf("after close: %v", err)
		}
	})
}

// lateContext ends between two looks at it.
type lateContext struct {
	context.Context
	looks int
}

func (c *lateContext) Err() error {
	if c.looks++; c.looks > 1 {
		return context.Canceled
	}
	return nil
}

// TestSendAfterTheLastLook: a task that came into the mailbox when the shard had
// looked for the last time is failed by its sender.
func TestSendAfterTheLastLook(t *testing.T) {
	s := &shard{}
	s.loop = newLoop(loopConfig{ctx: &lateContext{Context: context.Background()}}, s)
	failed := make(chan int16, 1)
	s.send(t.Context(), task{fail: func(code int16) { failed <- code }})
	if len(failed) != 1 || <-failed != kerr.NotCoordinator.Code {
		t.Error("the task is left in the mailbox")
	}
}

// TestSeveralAdvertisedListeners are refused: there is no way to say which client
// is told which.
func TestSeveralAdvertisedListeners(t *testing.T) {
	cfg := Config{Dir: "/data", Settings: map[string]string{"advertised.listeners": "A://a:1,B://b:2"}}
	if _, _, err := cfg.complete(); err == nil || !strings.Contains(err.Error(), "2 entries") {
		t.Errorf("error %v", err)
	}
}
