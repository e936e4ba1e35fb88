package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	killTopic      = "killed"
	killGroup      = "survivors"
	killPartitions = 3
)

// TestKill kills a broker again and again (kill -9 of a real process) while an
// idempotent producer and a consumer group work on it. Afterwards, nothing that
// was acknowledged is lost, nothing is there twice, the order is as produced,
// and no committed offset has ever gone back. A killed process takes nothing out of
// the page cache, so this must hold in both modes of durability.
//
// In each, 20 kills, 4 with -short, or as many as WEIR_KILLS says. WEIR_SEED repeats the
// moments of the kills, as far as the machine repeats itself.
func TestKill(t *testing.T) {
	for _, durability := range []string{"sync", "os"} {
		t.Run("durability="+durability, func(t *testing.T) { killAgainAndAgain(t, durability) })
	}
}

func killAgainAndAgain(t *testing.T, durability string) {
	kills := 20
	if testing.Short() {
		kills = 4
	}
	kills = int(fromEnv(t, "WEIR_KILLS", uint64(kills)))
	seed := fromEnv(t, "WEIR_SEED", uint64(time.Now().UnixNano()))
	t.Logf("replay with: WEIR_SEED=%d WEIR_KILLS=%d go test ./cmd/weir -run %s", seed, kills, t.Name())
	random := rand.New(rand.NewPCG(seed, 0))

	dir := filepath.Join(t.TempDir(), "data")
	p := serve(t, "--data", dir, "--listen", "127.0.0.1:0", "--durability", durability)
	k := newKillRun(t, p)
	k.work(t)
	var down time.Duration
	for range kills {
		// Sometimes at once, while clients reconnect and the group is rebuilt.
		if more := random.IntN(500); more > 100 {
			k.awaitAcks(t, more)
		}
		p.kill(t)
		begin := time.Now()
		p = serve(t, "--data", dir, "--listen", p.address, "--durability", durability)
		down += time.Since(begin)
		k.checkCommitted(t)
	}
	k.awaitAcks(t, 100)
	k.stop(t)
	k.checkLog(t)
	k.checkGroup(t)
	t.Logf("%d kills, %d records acknowledged, %d consumed, %d commits; %v from kill to listening on average",
		kills, k.acked(), k.consumed(), k.commits(), down/time.Duration(max(kills, 1)))
	if took := p.terminate(t); p.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("exit code %d after %v\n%s", p.cmd.ProcessState.ExitCode(), took, p.stderr)
	}
}

func fromEnv(t *testing.T, name string, def uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// killRun is what the clients of one TestKill know.
type killRun struct {
	producer, consumer *kgo.Client
	admin              *kadm.Client
	stopProducing      context.CancelFunc
	stopConsuming      context.CancelFunc
	produced, done     chan struct{} // closed when the producer, the consumer has ended
	more               chan struct{} // holds one token when there are new acknowledgements

	mu struct {
		sync.Mutex
		sent      [killPartitions]int             // values 0 to sent-1 were given to the producer
		acks      [killPartitions]map[int64]int64 // offset: value
		total     int
		seen      [killPartitions]map[int64]int64
		committed [killPartitions]int64 // highest acknowledged commit
		commits   int
		errs      []error
	}
}

func newKillRun(t *testing.T, p *process) *killRun {
	t.Helper()
	k := &killRun{produced: make(chan struct{}), done: make(chan struct{}), more: make(chan struct{}, 1)}
	for i := range killPartitions {
		k.mu.acks[i], k.mu.seen[i] = map[int64]int64{}, map[int64]int64{}
	}
	// Quick to notice that the broker is back: it is gone twenty times.
	quick := []kgo.Opt{
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
		kgo.MetadataMinAge(10 * time.Millisecond), kgo.RetryTimeout(patience),
		kgo.DialTimeout(time.Second),
	}
	k.producer = client(t, p, append(quick,
		kgo.DefaultProduceTopic(killTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(200),
		kgo.UnknownTopicRetries(-1), kgo.ProducerBatchMaxBytes(4096),
	)...)
	k.admin = kadm.NewClient(k.producer)
	if _, err := k.admin.CreateTopic(deadline(t), killPartitions, -1, nil, killTopic); err != nil {
		t.Fatal(err)
	}
	k.consumer = client(t, p, append(quick,
		kgo.ConsumerGroup(killGroup), kgo.ConsumeTopics(killTopic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(100*time.Millisecond),
		kgo.FetchMaxWait(100*time.Millisecond),
	)...)
	return k
}

// work starts the producer and the consumer.
func (k *killRun) work(t *testing.T) {
	var producing, consuming context.Context
	producing, k.stopProducing = context.WithCancel(context.Background())
	consuming, k.stopConsuming = context.WithCancel(context.Background())
	t.Cleanup(k.stopProducing)
	t.Cleanup(k.stopConsuming)
	go k.produce(producing)
	go k.consume(consuming)
}

// produce sends 0, 1, 2 … to each partition, as fast as they are acknowledged.
func (k *killRun) produce(ctx context.Context) {
	defer close(k.produced)
	for n := int64(0); ctx.Err() == nil; n++ {
		for part := range int32(killPartitions) {
			k.mu.Lock()
			k.mu.sent[part]++
			k.mu.Unlock()
			r := &kgo.Record{Partition: part, Value: fmt.Appendf(nil, "%d", n)}
			// Blocks while 200 records wait: the promises set the pace.
			k.producer.Produce(context.Background(), r, func(r *kgo.Record, err error) { k.acknowledge(r, n, err) })
		}
	}
}

func (k *killRun) acknowledge(r *kgo.Record, value int64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.fail(fmt.Errorf("produce %d to partition %d: %w", value, r.Partition, err))
		return
	}
	if old, twice := k.mu.acks[r.Partition][r.Offset]; twice {
		k.fail(fmt.Errorf("partition %d: offset %d acknowledged for %d and for %d", r.Partition, r.Offset, old, value))
	}
	k.mu.acks[r.Partition][r.Offset] = value
	k.mu.total++
	select {
	case k.more <- struct{}{}:
	default:
	}
}

// fail remembers an error; the lock is held. There is no end to errors once
// something is wrong, and the first ones tell.
func (k *killRun) fail(err error) {
	if len(k.mu.errs) < 10 {
		k.mu.errs = append(k.mu.errs, err)
	}
}

// consume reads as the group's member and commits after every poll.
func (k *killRun) consume(ctx context.Context) {
	defer close(k.done)
	for ctx.Err() == nil {
		fetches := k.consumer.PollRecords(ctx, 500)
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.Canceled) && isDataLoss(e.Err) {
				k.mu.Lock()
				k.fail(fmt.Errorf("consume %s-%d: %w", e.Topic, e.Partition, e.Err))
				k.mu.Unlock()
			}
		}
		k.see(fetches.Records())
		k.commit(ctx, fetches.Records())
	}
}

// isDataLoss: the client saw an end of the log before its own position.
func isDataLoss(err error) bool {
	var loss *kgo.ErrDataLoss
	return errors.As(err, &loss)
}

// see checks that an offset shows the same record each time, in order.
func (k *killRun) see(records []*kgo.Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range records {
		value, err := strconv.ParseInt(string(r.Value), 10, 64)
		if err != nil {
			k.fail(err)
		}
		if old, again := k.mu.seen[r.Partition][r.Offset]; again && old != value {
			k.fail(fmt.Errorf("partition %d: offset %d was %d and is now %d", r.Partition, r.Offset, old, value))
		}
		k.mu.seen[r.Partition][r.Offset] = value
	}
}

// commit remembers what the broker has promised to remember. A commit that
// fails promises nothing: the broker may be dead.
func (k *killRun) commit(ctx context.Context, records []*kgo.Record) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if len(records) == 0 || k.consumer.CommitRecords(ctx, records...) != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.commits++
	for _, r := range records {
		k.mu.committed[r.Partition] = max(k.mu.committed[r.Partition], r.Offset+1)
	}
}

// awaitAcks waits for so many more acknowledgements.
func (k *killRun) awaitAcks(t *testing.T, more int) {
	t.Helper()
	goal := k.acked() + more
	late := time.After(patience)
	for k.acked() < goal {
		k.mustBeWell(t)
		select {
		case <-k.more:
		case <-late:
			t.Fatalf("%d acknowledgements, want %d: nothing comes for %v", k.acked(), goal, patience)
		}
	}
}

func (k *killRun) mustBeWell(t *testing.T) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, err := range k.mu.errs {
		t.Error(err)
	}
	if len(k.mu.errs) > 0 {
		t.FailNow()
	}
}

func (k *killRun) acked() int   { k.mu.Lock(); defer k.mu.Unlock(); return k.mu.total }
func (k *killRun) commits() int { k.mu.Lock(); defer k.mu.Unlock(); return k.mu.commits }
func (k *killRun) consumed() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, seen := range k.mu.seen {
		n += len(seen)
	}
	return n
}

// checkCommitted asks the restarted broker for the group's offsets: none may
// stand before one that was acknowledged before the question.
func (k *killRun) checkCommitted(t *testing.T) {
	t.Helper()
	k.mu.Lock()
	promised := k.mu.committed
	k.mu.Unlock()
	ctx := deadline(t)
	offsets, err := k.admin.FetchOffsets(ctx, killGroup)
	for err != nil && ctx.Err() == nil {
		// The connection was to the dead broker; the client makes a new one.
		offsets, err = k.admin.FetchOffsets(ctx, killGroup)
	}
	if err != nil {
		t.Fatalf("fetch offsets: %v", err)
	}
	for part, want := range promised {
		if got, _ := offsets.Lookup(killTopic, int32(part)); got.At < want && want > 0 {
			t.Fatalf("partition %d: the committed offset went back from %d to %d", part, want, got.At)
		}
	}
}

// stop lets the producer finish, the consumer read all of it, and ends both.
func (k *killRun) stop(t *testing.T) {
	t.Helper()
	k.stopProducing()
	<-k.produced
	if err := k.producer.Flush(deadline(t)); err != nil {
		t.Fatalf("flush: %v", err)
	}
	late := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for k.consumed() < k.acked() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("the group has consumed %d of %d records after %v", k.consumed(), k.acked(), patience)
		}
	}
	k.stopConsuming()
	<-k.done
	k.mustBeWell(t)
}

// checkLog reads everything back: in each partition 0, 1, 2 … with no gap, no
// duplicate and in order, each at the offset that was acknowledged.
func (k *killRun) checkLog(t *testing.T) {
	t.Helper()
	reader := client(t, &process{address: k.producer.OptValue(kgo.SeedBrokers).([]string)[0]},
		kgo.ConsumeTopics(killTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx := deadline(t)
	var next [killPartitions]int64
	for read := 0; read < k.acked(); {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", read, k.acked(), err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			read++
			if string(r.Value) != fmt.Sprint(next[r.Partition]) || r.Offset != next[r.Partition] {
				t.Fatalf("partition %d has %s at offset %d, want %d", r.Partition, r.Value, r.Offset, next[r.Partition])
			}
			if acked, ok := k.mu.acks[r.Partition][r.Offset]; !ok || acked != next[r.Partition] {
				t.Fatalf("partition %d, offset %d: holds %s, acknowledged as %d (%v)", r.Partition, r.Offset, r.Value, acked, ok)
			}
			next[r.Partition]++
		})
	}
	for part, n := range next {
		if int(n) != k.mu.sent[part] {
			t.Errorf("partition %d has %d records, %d were acknowledged", part, n, k.mu.sent[part])
		}
	}
	ends, err := k.admin.ListEndOffsets(ctx, killTopic)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset != next[o.Partition] {
			t.Errorf("partition %d ends at %d, behind its last record at %d", o.Partition, o.Offset, next[o.Partition])
		}
	})
}

// checkGroup: what the group saw is what the log holds.
func (k *killRun) checkGroup(t *testing.T) {
	t.Helper()
	for part := range killPartitions {
		for offset, value := range k.mu.acks[part] {
			if got, ok := k.mu.seen[part][offset]; !ok || got != value {
				t.Fatalf("partition %d, offset %d: acknowledged %d, the group saw %d (%v)", part, offset, value, got, ok)
			}
		}
	}
	k.checkCommitted(t)
}
