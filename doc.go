// Package weir runs consumer-group applications over the Kafka protocol: a
// typed handler per topic, at least once, in order per partition.
//
//	orders := weir.Topic[string, Order]{Name: "orders", Key: weir.String(), Value: weir.JSON[Order]()}
//	app, err := weir.New(weir.Config{Brokers: []string{"localhost:9092"}, Group: "billing"})
//	weir.Handle(app, orders, func(ctx context.Context, rec weir.Record[string, Order]) error { … })
//	err = app.Run(ctx)
//
// It speaks only the protocol, through franz-go, and so runs unchanged on weir's
// own broker and on any Apache Kafka cluster.
//
// # Nouns
//
//   - App: one member of a consumer group. Several Apps may run in one process.
//   - Topic: a name and the two serdes that give its records their types.
//   - Handler: the function called with one record. Its context carries where
//     the record lies, the attempt and a logger.
//   - Attempt: one call of the handler with a record. A returned error or a
//     panic fails it; attempts are repeated in place, after a backoff.
//   - Finished: a record is finished when its handler has returned nil and every
//     record it produced is acknowledged, or when its dead letter is.
//   - Position: the offset after the last record of the contiguous run of
//     finished ones. It is what is committed.
//   - Dead letter: a record that could not be decoded or handled, written with
//     the reason in its headers to another topic ("orders.dlq").
//
// # Invariants
//
//  1. A committed offset never lies beyond an unfinished record, whatever order
//     acknowledgements arrive in.
//  2. Within a partition handlers are called one after another, in offset order;
//     a record that is tried again is tried before the next one is begun.
//  3. A partition that is handed over cleanly (revoked, or the App stopped) takes
//     no further record, finishes the one in hand and what awaits
//     acknowledgements, commits, and only then is released: the next owner
//     begins at the first record this one has not begun.
//  4. A partition that was lost (the member is fenced, or DrainTimeout passed)
//     commits nothing more; its handler's context is cancelled, and the same
//     partition begins again in this App only after that handler has returned.
//  5. A record that fails because its partition is being taken away is neither
//     dead-lettered nor finished: the next owner tries it from attempt 1.
//  6. Queues are bounded: per partition at most twice MaxQueued records wait, and
//     at most MaxInFlight (rounded up to 64) are handled but unacknowledged.
//  7. A slow partition does not stop another: once it is full and another's worker
//     has been idle for 100 ms it is paused, and resumed when half of its queue is
//     worked off.
//  8. A record has at most one dead letter from one owner. One that is too large for
//     the broker is written without its stack trace, then without its value, and
//     says so: a bad record does not stop the App for its size.
//  9. A deleted topic stops no other. Its partitions are handed over, without a
//     commit; should it be made again, it is handled from where a new group begins.
//     Where commits go by topic ids (OffsetCommit 10, Kafka 4.1) a position of
//     the old topic can never become one of the new.
//
// # Goroutines
//
// App.Run polls on the caller's goroutine. It owns the committer, the only one
// that commits (so a late commit can never follow a newer one), and one worker
// per assigned partition; it returns after all of them have. The client's group
// goroutine starts and drains workers inside its rebalance callbacks, which are
// held back while a poll's records are being queued. Acknowledgements are
// counted on the client's producer goroutine, which never waits for anything.
//
//	       poll             chunk            Produce             ack
//	fetch ──────► queue[p] ───────► worker[p] ──────► client ──────► ledger[p]
//	      ◄──────                      │ error                          │ position
//	       pause/resume                └──► backoff, dead letter        ▼
//	                                                                committer
//
// # Cost of a record
//
// The envelope of a consume-and-produce application is one core. The client
// alone (fetch, decode, partition, batch, produce) takes about 1 µs for a record
// of 256 bytes, so the dispatcher is given 0.25 µs: no goroutine, no channel, no
// clock and no lock per record. What it does pay: a slot in a slab of 64 that is
// tracking entry and context at once (1/64 allocation), a few uncontended atomic
// operations, a deferred recover, the decoding of key and value, and one
// kgo.Record per record produced. With a handler that does nothing that is 70 ns
// (BenchmarkDispatch). Locks, wake-ups and clock readings come once per chunk of
// up to 256 records, or more rarely.
//
// # Left out on purpose
//
// Order by key and concurrency inside a partition, batches, retry topics,
// exactly once, and effects in databases: the ledger completes in any order
// and attempts are separate from records, so that they can be added. There is
// no producing outside a handler; use a kgo.Client.
package weir
