package txn

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// benchCore is a Core with one transactional id, whose producer is returned.
func benchCore(b *testing.B) (*Core, Sender) {
	b.Helper()
	last := int64(0)
	c := New(Config{NewProducerID: func() int64 { last++; return last }})
	id := "bench-id"
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = &id, 60_000, -1, -1
	resp := c.InitProducerID(time.UnixMilli(0), req)
	if resp.ErrorCode != 0 {
		b.Fatalf("InitProducerId: code %d", resp.ErrorCode)
	}
	c.Take()
	return c, Sender{id, resp.ProducerID, resp.ProducerEpoch}
}

func benchPartitions(n int) []Partition {
	parts := make([]Partition, n)
	for i := range parts {
		parts[i] = Partition{Topic: fmt.Sprintf("topic-%d", i/10), ID: [16]byte{1, byte(i / 10)}, Number: int32(i % 10)}
	}
	return parts
}

// BenchmarkTransaction is what the coordinator does for a transaction of version 2: all
// partitions are added at once, and it ends.
func BenchmarkTransaction(b *testing.B) {
	for _, n := range []int{1, 6, 100} {
		b.Run(fmt.Sprintf("partitions=%d", n), func(b *testing.B) {
			c, from := benchCore(b)
			parts := benchPartitions(n)
			end := &kmsg.EndTxnRequest{Version: 5, TransactionalID: from.TransactionalID, Commit: true}
			now := time.UnixMilli(1)
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Millisecond)
				if code := c.AddPartitions(now, from, parts, 2); code != 0 {
					b.Fatalf("AddPartitions: code %d", code)
				}
				c.Take()
				end.ProducerID, end.ProducerEpoch = from.ProducerID, from.Epoch
				resp := c.EndTxn(now, end)
				if out := c.Take(); resp.ErrorCode != 0 || len(out.Changes) != 1 || len(out.Changes[0].Partitions) != n {
					b.Fatalf("EndTxn: code %d, %+v", resp.ErrorCode, out.Changes)
				}
				from.ProducerID, from.Epoch = resp.ProducerID, resp.ProducerEpoch
			}
		})
	}
}

// BenchmarkAddAgain: all partitions are in the transaction.
func BenchmarkAddAgain(b *testing.B) {
	c, from := benchCore(b)
	parts := benchPartitions(6)
	now := time.UnixMilli(1)
	b.ReportAllocs()
	for b.Loop() {
		if code := c.AddPartitions(now, from, parts, 2); code != 0 {
			b.Fatalf("AddPartitions: code %d", code)
		}
	}
}

// BenchmarkReplay reads the log of a shard in which each of 1,000 ids has had ten
// transactions over six partitions; one operation is one record.
func BenchmarkReplay(b *testing.B) {
	var log []Record
	for i := range 1000 {
		x := &transaction{id: fmt.Sprintf("id-%d", i), producerID: int64(i), previousID: -1, nextID: -1, timeout: time.Minute, state: Ongoing, version: 2}
		x.partitions = map[place][16]byte{}
		for _, p := range benchPartitions(6) {
			x.partitions[place{p.Topic, p.Number}] = p.ID
		}
		open := Record{keyOf(x.id), x.value()}
		x.state, x.partitions = CompleteCommit, nil
		for range 10 {
			log = append(log, open, Record{keyOf(x.id), x.value()})
		}
	}
	b.ReportAllocs()
	c := New(Config{})
	for i := 0; b.Loop(); i++ {
		r := log[i%len(log)]
		if err := c.Replay(r.Key, r.Value); err != nil {
			b.Fatal(err)
		}
	}
	if c.Len() == 0 {
		b.Error("nothing was replayed")
	}
}
