package broker

import (
	"context"
	"fmt"
	"math/rand"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/storage"
)

// inTxn makes a batch of a transaction.
func inTxn(producer int64, values ...string) batch.Batch {
	return batch.Build(batch.BuildOptions{Transactional: true, Producer: &batch.Producer{ID: producer, Sequence: -1}}, valued(values)...)
}

func valued(values []string) (rs []batch.Record) {
	for _, v := range values {
		rs = append(rs, batch.Record{Timestamp: 1000, Value: []byte(v)})
	}
	return rs
}

func plainly(values ...string) batch.Batch {
	return batch.Build(batch.BuildOptions{}, valued(values)...)
}

func ending(producer int64, commit bool) batch.Batch {
	return batch.BuildMarker(producer, 0, 1000, batch.Marker{Commit: commit})
}

// isolated is a fetch of t-0.
func isolated(version int16, id [16]byte, offset int64, isolation int8) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.SessionEpoch = version, -1, finalEpoch
	req.MinBytes, req.MaxBytes, req.IsolationLevel = 1, 1<<20, isolation
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = offset, 1<<20, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID, topic.Partitions = "t", id, append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	return req
}

func fetchIsolated(t *testing.T, c net.Conn, req *kmsg.FetchRequest) kmsg.FetchResponseTopicPartition {
	t.Helper()
	mustWrite(t, c, encode(req, 1))
	resp := decodeAnswer(t, c, kmsg.NewPtrFetchResponse(), req.Version)
	if resp.ErrorCode != 0 || len(resp.Topics) == 0 {
		t.Fatalf("code %d, %d topics", resp.ErrorCode, len(resp.Topics))
	}
	return resp.Topics[0].Partitions[0]
}

// told is an answer in a line: the marks, the offsets of the batches, and the aborted
// transactions as producer@first offset.
func toldOf(t *testing.T, p kmsg.FetchResponseTopicPartition) string {
	t.Helper()
	out := fmt.Sprintf("code %d, high %d, stable %d:", p.ErrorCode, p.HighWatermark, p.LastStableOffset)
	for rest := p.RecordBatches; len(rest) > 0; {
		one, more, err := batch.Split(rest)
		if err != nil {
			t.Fatal(err)
		}
		out += fmt.Sprintf(" %d", one.BaseOffset())
		rest = more
	}
	if p.AbortedTransactions == nil {
		return out + ", aborted null"
	}
	out += ", aborted"
	for _, a := range p.AbortedTransactions {
		out += fmt.Sprintf(" %d@%d", a.ProducerID, a.FirstOffset)
	}
	return out
}

// TestFetchReadCommitted: what a client that reads committed records only is given ends
// at the last stable offset, with the aborted transactions in it; all others are given
// everything, and null. Both are told the last stable offset.
func TestFetchReadCommitted(t *testing.T) {
	b := openForTest(t)
	made, _, err := b.metadata.create(t.Context(), "t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := b.metadata.topic("t").partition(0)
	for _, batches := range [][]byte{plainly("a"), inTxn(1, "b", "c"), inTxn(2, "d"), ending(1, false), plainly("e"), inTxn(1, "f")} {
		mustCommit(t, b, log, batches)
	}
	c := fuzzDial(t, b)
	defer c.Close()
	check := func(offset int64, isolation int8, want string) {
		t.Helper()
		for v := int16(4); v <= 18; v++ {
			if got := toldOf(t, fetchIsolated(t, c, isolated(v, made.ID, offset, isolation))); got != want {
				t.Errorf("v%d, offset %d, isolation %d:\ngot  %s\nwant %s", v, offset, isolation, got, want)
			}
		}
	}
	check(0, 0, "code 0, high 7, stable 3: 0 1 3 4 5 6, aborted null")
	check(0, 1, "code 0, high 7, stable 3: 0 1, aborted 1@1")
	check(2, 1, "code 0, high 7, stable 3: 1, aborted 1@1")
	check(3, 1, "code 0, high 7, stable 3:, aborted") // nothing yet, and no error
	check(5, 1, "code 0, high 7, stable 3:, aborted")
	check(7, 1, "code 0, high 7, stable 3:, aborted")
	check(8, 1, "code 1, high -1, stable -1:, aborted null")
	mustCommit(t, b, log, ending(2, true))
	check(0, 1, "code 0, high 8, stable 6: 0 1 3 4 5, aborted 1@1")
	check(4, 1, "code 0, high 8, stable 6: 4 5, aborted 1@1") // the marker itself
	check(5, 1, "code 0, high 8, stable 6: 5, aborted")
	mustCommit(t, b, log, ending(1, false))
	check(5, 1, "code 0, high 9, stable 9: 5 6 7 8, aborted 1@6")
	check(0, 1, "code 0, high 9, stable 9: 0 1 3 4 5 6 7 8, aborted 1@1 1@6")
	check(0, 0, "code 0, high 9, stable 9: 0 1 3 4 5 6 7 8, aborted null")
	req := isolated(12, made.ID, 0, 1)
	req.Topics[0].Partitions[0].PartitionMaxBytes = 1 // only what is sent is told of
	if got := toldOf(t, fetchIsolated(t, c, req)); got != "code 0, high 9, stable 9: 0, aborted" {
		t.Errorf("the first batch alone: %s", got)
	}
}

// polled is one long poll in a bubble.
type polled struct {
	c    net.Conn
	done chan kmsg.FetchResponseTopicPartition
}

func poll(t *testing.T, b *Broker, req *kmsg.FetchRequest) *polled {
	t.Helper()
	p := &polled{dialInBubble(t, b), make(chan kmsg.FetchResponseTopicPartition, 1)}
	t.Cleanup(func() { p.c.Close() })
	mustWrite(t, p.c, encode(req, 1))
	go func() {
		resp := decodeAnswer(t, p.c, kmsg.NewPtrFetchResponse(), req.Version)
		if len(resp.Topics) > 0 {
			p.done <- resp.Topics[0].Partitions[0]
		}
		close(p.done)
	}()
	synctest.Wait()
	return p
}

// waits fails if the poll was answered.
func (p *polled) waits(t *testing.T, when string) {
	t.Helper()
	synctest.Wait()
	select {
	case got := <-p.done:
		t.Errorf("%s: answered with %s", when, toldOf(t, got))
	default:
	}
}

// TestReadCommittedWaitsForTheLSO: records of an open transaction, and those behind it,
// wake nobody who reads committed records only; the marker does. Bytes are counted below
// the last stable offset.
func TestReadCommittedWaitsForTheLSO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		mustCreate(t, b, 1)
		log := b.metadata.topic("t").partition(0)
		req := isolated(12, [16]byte{}, 0, 1)
		req.MaxWaitMillis = 60_000
		first := poll(t, b, req)
		data := inTxn(1, "a")
		mustCommit(t, b, log, data)
		first.waits(t, "a transaction has begun")
		mustCommit(t, b, log, plainly("b"))
		first.waits(t, "a record stands behind an open transaction")
		req.MinBytes = int32(len(data) + len(plainly("b")) + len(ending(1, true)) + 1)
		second := poll(t, b, req)
		began := time.Now()
		mustCommit(t, b, log, ending(1, true))
		if got := toldOf(t, <-first.done); got != "code 0, high 3, stable 3: 0 1 2, aborted" {
			t.Errorf("the transaction has ended: %s", got)
		}
		second.waits(t, "one byte is missing")
		mustCommit(t, b, log, plainly("c"))
		if got := toldOf(t, <-second.done); got != "code 0, high 4, stable 4: 0 1 2 3, aborted" {
			t.Errorf("enough is there: %s", got)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("they waited for the clock, %v", d)
		}
		req.MinBytes, req.Topics[0].Partitions[0].FetchOffset = 1, 4
		third := poll(t, b, req)
		mustCommit(t, b, log, inTxn(2, "d"))
		if got := toldOf(t, <-third.done); got != "code 0, high 5, stable 4:, aborted" || time.Since(began) != time.Minute {
			t.Errorf("nothing comes: %s after %v", got, time.Since(began))
		}
	})
}

// TestSessionReadCommitted: the same in a session, whose isolation level may change.
func TestSessionReadCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		mustCreate(t, b, 1)
		log := b.metadata.topic("t").partition(0)
		c := dialInBubble(t, b)
		defer c.Close()
		req := isolated(12, [16]byte{}, 0, 1)
		req.SessionEpoch = initialEpoch
		mustWrite(t, c, encode(req, 1))
		resp := decodeAnswer(t, c, kmsg.NewPtrFetchResponse(), 12)
		req.SessionID = resp.SessionID
		ask := func(isolation int8, parts []kmsg.FetchRequestTopic) chan string {
			req.SessionEpoch++
			req.MinBytes = 1
			if isolation == 1 {
				// More than a marker: what it makes readable counts, not what it takes itself.
				req.MinBytes = int32(len(ending(1, true))) + 1
			}
			req.MaxWaitMillis, req.Topics, req.IsolationLevel = 60_000, parts, isolation
			mustWrite(t, c, encode(req, 1))
			told := make(chan string, 1)
			go func() {
				resp := decodeAnswer(t, c, kmsg.NewPtrFetchResponse(), 12)
				if len(resp.Topics) == 0 {
					told <- fmt.Sprintf("code %d, nothing", resp.ErrorCode)
					return
				}
				told <- toldOf(t, resp.Topics[0].Partitions[0])
			}()
			synctest.Wait()
			return told
		}
		quiet := func(told chan string, when string) {
			t.Helper()
			synctest.Wait()
			select {
			case got := <-told:
				t.Errorf("%s: %s", when, got)
			default:
			}
		}
		want := func(told chan string, want string) {
			t.Helper()
			if got := <-told; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		began := time.Now()
		told := ask(1, nil)
		mustCommit(t, b, log, inTxn(1, "a"))
		mustCommit(t, b, log, plainly("b"))
		quiet(told, "a transaction is open")
		mustCommit(t, b, log, ending(1, false))
		want(told, "code 0, high 3, stable 3: 0 1 2, aborted 1@0")
		moved := isolated(12, [16]byte{}, 3, 1).Topics
		told = ask(1, moved)
		mustCommit(t, b, log, inTxn(2, "c"))
		quiet(told, "the next transaction is open")
		mustCommit(t, b, log, ending(2, true))
		want(told, "code 0, high 5, stable 5: 3 4, aborted")
		moved = isolated(12, [16]byte{}, 5, 1).Topics
		told = ask(0, moved)
		mustCommit(t, b, log, inTxn(3, "d"))
		want(told, "code 0, high 6, stable 5: 5, aborted null")
		told = ask(1, nil)
		quiet(told, "it reads committed records only again")
		mustCommit(t, b, log, plainly("e"))
		quiet(told, "a record stands behind an open transaction")
		mustCommit(t, b, log, ending(3, true))
		want(told, "code 0, high 8, stable 8: 5 6 7, aborted")
		if d := time.Since(began); d != 0 {
			t.Errorf("somebody waited for the clock, %v", d)
		}
	})
}

// TestManyAbortedTransactions: who reads where very many transactions were aborted gets
// them by the piece, and in the end everything.
func TestManyAbortedTransactions(t *testing.T) {
	b := openForTest(t)
	mustCreate(t, b, 1)
	log := b.metadata.topic("t").partition(0)
	const n = 3 * maxAborted
	var batches []byte
	for i := range int64(n) {
		batches = append(batches, inTxn(i%5, "x")...)
		batches = append(batches, ending(i%5, false)...)
		if len(batches) > 200<<10 || i == n-1 {
			mustCommit(t, b, log, batches)
			batches = nil
		}
	}
	for name, tc := range map[string]struct {
		epoch     int32
		maxChunks int64
		most      int // in one answer
	}{
		"without a session": {finalEpoch, manyChunks, maxAborted}, "in a session": {initialEpoch, manyChunks, maxAborted},
		"beside many slow readers": {finalEpoch, 0, fewAborted},
	} {
		t.Run(name, func(t *testing.T) {
			b.maxChunks = tc.maxChunks
			epoch := tc.epoch
			c := fuzzDial(t, b)
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil { // a hundred answers on a busy machine
				t.Fatal(err)
			}
			seen, answers, session := int64(0), 0, int32(0)
			for at := int64(0); at < 2*n; answers++ {
				req := isolated(12, [16]byte{}, at, 1)
				req.SessionID, req.SessionEpoch = session, epoch
				// It waits, and so looks twice, for more than there is.
				req.MaxBytes, req.MinBytes, req.MaxWaitMillis = 32<<20, 32<<20, 1
				req.Topics[0].Partitions[0].PartitionMaxBytes = 32 << 20
				mustWrite(t, c, encode(req, 1))
				resp := decodeAnswer(t, c, kmsg.NewPtrFetchResponse(), req.Version)
				if session = resp.SessionID; session != 0 {
					epoch++
				}
				p := resp.Topics[0].Partitions[0]
				if len(p.AbortedTransactions) > tc.most {
					t.Fatalf("%d aborted transactions in one answer", len(p.AbortedTransactions))
				}
				for i, a := range p.AbortedTransactions {
					if i == 0 && a.FirstOffset == 2*(seen-1) {
						continue // the last answer ended between its record and its marker
					}
					if a.FirstOffset != 2*seen {
						t.Fatalf("after %d transactions comes the one at offset %d", seen, a.FirstOffset)
					}
					seen++
				}
				last := at
				for rest := p.RecordBatches; len(rest) > 0; {
					one, more, err := batch.Split(rest)
					if err != nil {
						t.Fatal(err)
					}
					at, rest = one.NextOffset(), more
				}
				if at == last {
					t.Fatalf("nothing at offset %d: %s", at, toldOf(t, p))
				}
			}
			if seen != n || answers > 2*n/tc.most+2 {
				t.Errorf("%d transactions were told of in %d answers, there were %d", seen, answers, n)
			}
		})
	}
}

// TestAbortedOfAllPartitions: what an answer lists is bounded over all its partitions.
func TestAbortedOfAllPartitions(t *testing.T) {
	b := openForTest(t)
	mustCreate(t, b, 2)
	f := &fetch{version: 12, flexible: true, committed: true, minBytes: 1, maxBytes: 32 << 20}
	for n := range int32(2) {
		log := b.metadata.topic("t").partition(n)
		var batches []byte
		for i := range int64(maxAborted * 2 / 3) {
			batches = append(append(batches, inTxn(i%5, "x")...), ending(i%5, false)...)
			if len(batches) > 200<<10 {
				mustCommit(t, b, log, batches)
				batches = nil
			}
		}
		f.partitions = append(f.partitions, fetchPartition{number: n, maxBytes: 32 << 20, epoch: -1, log: log})
	}
	defer f.release()
	if _, err := f.read(); err != nil {
		t.Fatal(err)
	}
	first, second := &f.partitions[0], &f.partitions[1]
	if got := len(first.aborted) + len(second.aborted); got > maxAborted || len(second.aborted) == 0 || second.extent.Len() == 0 {
		t.Errorf("%d and %d aborted transactions are listed", len(first.aborted), len(second.aborted))
	}
	if first.extent.Len() < 4*second.extent.Len()/3 {
		t.Errorf("%d and %d bytes", first.extent.Len(), second.extent.Len())
	}
}

// TestNothingAbortedCostsNothing: whoever reads committed records where no transaction
// was aborted pays for no list.
func TestNothingAbortedCostsNothing(t *testing.T) {
	b := openForTest(t)
	mustCreate(t, b, 1)
	log := b.metadata.topic("t").partition(0)
	mustCommit(t, b, log, inTxn(1, "a"))
	mustCommit(t, b, log, ending(1, true))
	f := &fetch{version: 12, flexible: true, committed: true, minBytes: 1, maxBytes: 1 << 20}
	f.partitions = []fetchPartition{{maxBytes: 1 << 20, epoch: -1, log: log}}
	if n := testing.AllocsPerRun(100, func() {
		if enough, err := f.read(); !enough || err != nil || f.partitions[0].extent.Len() == 0 {
			t.Fatal(enough, err)
		}
		f.release()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestReadCommittedClient: franz-go reads what a random run of transactions leaves
// behind; it must see all that was committed, in order, and nothing else.
func TestReadCommittedClient(t *testing.T) {
	for seed := range int64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			b := openForTest(t)
			mustCreate(t, b, 2)
			r := rand.New(rand.NewSource(seed))
			var want [2][]string
			for n := range want {
				want[n] = transact(t, b, r, b.metadata.topic("t").partition(int32(n)))
			}
			cl, err := kgo.NewClient(kgo.SeedBrokers("weir:9092"), kgo.Dialer(b.DialContext), kgo.ConsumeTopics("t"),
				kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxPartitionBytes(2000),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var got [2][]string
			for len(got[0])+len(got[1]) < len(want[0])+len(want[1]) {
				fetches := cl.PollFetches(ctx)
				if err := fetches.Err(); err != nil {
					t.Fatalf("after %d and %d of %d and %d: %v", len(got[0]), len(got[1]), len(want[0]), len(want[1]), err)
				}
				fetches.EachRecord(func(r *kgo.Record) { got[r.Partition] = append(got[r.Partition], string(r.Value)) })
			}
			for n := range want {
				if !slices.Equal(got[n], want[n]) {
					t.Errorf("partition %d: %v, want %v", n, got[n], want[n])
				}
			}
		})
	}
}

// transact appends transactions of five producers and plain records, and returns what
// was committed in the order of offsets. In the end no transaction is open.
func transact(t *testing.T, b *Broker, r *rand.Rand, log *storage.Partition) (committed []string) {
	t.Helper()
	type written struct {
		value    string
		producer int64 // -1: none
		gone     bool
	}
	var all []written
	open := map[int64]bool{}
	end := func(producer int64, commit bool) {
		mustCommit(t, b, log, ending(producer, commit))
		for i := range all {
			if all[i].producer == producer {
				all[i].producer, all[i].gone = -1, !commit
			}
		}
		delete(open, producer)
	}
	for i := range 300 {
		producer := r.Int63n(5)
		switch n := r.Intn(10); {
		case n < 5:
			value := fmt.Sprint("txn ", i)
			mustCommit(t, b, log, inTxn(producer, value))
			all = append(all, written{value: value, producer: producer})
			open[producer] = true
		case n < 7:
			value := fmt.Sprint("plain ", i)
			mustCommit(t, b, log, plainly(value))
			all = append(all, written{value: value, producer: -1})
		default:
			end(producer, r.Intn(2) == 0)
		}
	}
	for producer := range int64(5) {
		if open[producer] {
			end(producer, producer%2 == 0)
		}
	}
	for _, w := range all {
		if !w.gone {
			committed = append(committed, w.value)
		}
	}
	return committed
}
