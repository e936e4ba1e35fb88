// Package broker is a durable, embeddable, single-node broker that speaks the
// Apache Kafka protocol.
//
// # Nouns
//
// A Broker serves connections. A conn is one client; each of its requests gets a
// slot, its place in the order of answers, and a call, the handler's view of it.
// An api is a row of the table of what is served. The metadata store holds the
// newest image of topics; a topic is what serving one needs. A fetchSession is what
// a client that fetches many partitions is known to want. The coordinator is the
// shell of package internal/group, transactions that of package internal/txn; both are a
// shardSet, and each of its shards is a loop.
//
//	          ┌─ readLoop ──────────────────────┐          ┌─ writeLoop ─────────────┐
//	socket ──▶│ frame ▸ header ▸ table ▸ handler │──slots──▶│ filled? durable? write  │──▶ socket
//	          └───────────────┬─────────────────┘  (queue) │ fetch: wait, read, write│
//	                          │ commit, hand on             └───────────▲─────────────┘
//	            storage · metadata · coordinators ─────── reply(LSN) ────┘
//
// # Invariants
//
//  1. Answers leave in the order of their requests, though handlers may finish in
//     any order, and a later request may be served while an earlier one waits.
//  2. An answer waits for the LSN of the newest state that it tells of, errors
//     included. Only acks=1 without a producer id waits for less than durable.
//  3. The reader never waits for a sync, so that one connection that pipelines has
//     many requests in one group commit.
//  4. Records are neither decoded nor copied on their way in, but for the kernel's
//     copy and the one into the journal; on their way out they are copied once.
//  5. Memory is bounded, by budgets of the whole broker. Requests: a frame's buffer
//     grows with the bytes that arrived. Decoding: what it may allocate, until the
//     request is answered or, if it waits for a shard, is done there. Answers: a large
//     one is counted before it is made, and what is not read yet counts beyond
//     freeAnswer of each connection; who finds no room is refused or closed, and
//     who holds some and reads nothing goes first. Members
//     of groups: what they sent is counted in the coordinator. Nothing that a request
//     names twice is answered twice. A connection stops reading at maxPending bytes of
//     answers or maxInflight requests; a Fetch has one chunk in memory at a time, a
//     small one when manyChunks are held; so with long lists of aborted transactions. Who has nothing to write holds no buffer.
//  6. Input from the wire never panics. Should it, only its connection ends.
//  7. A handler answers its call exactly once.
//  8. No batch of a transaction is appended behind its marker, and none before the
//     coordinator's record that its partition is in it: openTxns is asked under the
//     partition's lock.
//
// # Who may call what, and who owns which goroutine
//
// Config, Broker and its methods are for any goroutine. start owns two goroutines
// per connection: Shutdown waits for both. The metadata store owns those that
// remove deleted topics or records, or alter settings; the coordinators own their shards, retention the
// one that looks for what topics need not keep. Serve runs on its caller's
// goroutine.
//
// Locks: Broker.mu guards lists and is held for no call that waits. The metadata
// store's token (a channel) comes before shards of groups that stand still, for a deletion
// or the end of a transaction, and these before partitions. A shard of transactions comes
// before all of them.
//
// # Shutdown
//
// Listeners close; readers stop before their next request; the coordinator of
// transactions ends what it has begun; that of groups
// answers the members that wait; writers send what is answered as soon as it is
// durable; then the store closes. What takes longer than shutdownGrace is cut.
//
// # Left out on purpose
//
// Replication. Quotas, ACLs, TLS and SASL come later; what is not
// served is not advertised.
package broker
