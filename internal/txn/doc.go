// Package txn is the logic of Kafka's transaction coordinator (KIP-98, 360, 664, 890): who
// may write in a transaction, what belongs to it, and how it ends. It is a pure state machine
// without goroutine, clock, lock or I/O: a request and the time go in; answers, records to
// append, changes for the partitions and the next deadline come out. So every rule of the
// protocol is a script of text under testdata.
//
// # Nouns
//
// A Core holds the transactional ids of one partition of __transaction_state (a shard). A
// transactional id is what a producer calls itself across its restarts. It has a producer id
// and an epoch, which its batches carry, and at most one open transaction: a set of
// partitions with a start and a timeout. An end commits or aborts it, by a marker in each
// partition. Whoever has an older epoch than the coordinator is fenced.
//
// A Change is what a step means for the partitions: it opens some of them to batches of a
// producer, or it ends a transaction in all of them.
//
//	           first partition              EndTxn, timeout, InitProducerId
//	Empty ──────────────────────▶ Ongoing ──────────────────────────────────▶ CompleteCommit
//	  ▲                              ▲                                        CompleteAbort
//	  │ InitProducerId               │ first partition of the next one           │    │
//	  └──────────────────────────────┼───────────────────────────────────────────┘    │
//	                                 └────────────────────────────────────────────────┘
//
// Apache Kafka has PrepareCommit and PrepareAbort between Ongoing and the end, because it
// writes its decision first and the markers later. Here the record of the end and all markers
// are one act of storage, so these states are never written, and nobody waits for them. A log
// that has them, from Apache Kafka, is read: Finish ends such a transaction as its record
// says. PrepareEpochFence and Dead are read in the same way, and never made.
//
// # The end of a transaction (EndTxn)
//
// In version 1 of the protocol (EndTxn v0-4) the epoch stays, and must be that of the
// coordinator. In version 2 (EndTxn v5) each end raises the epoch, so that no batch and no
// request of the ended transaction can be taken for one of the next. A request that has the
// epoch before the current one is then the same request again. What is answered:
//
//	                version 1            version 2, same epoch     version 2, again
//	state           commit    abort      commit    abort           commit    abort
//	Ongoing         ends      ends       ends      ends            fenced    fenced
//	Empty           invalid   invalid    invalid   ends (empty)    fenced    fenced
//	CompleteCommit  success   invalid    invalid   ends (empty)    success   invalid
//	CompleteAbort   invalid   success    invalid   ends (empty)    invalid   success
//
// # Invariants
//
//  1. A transaction ends once: one Change ends it, and the record of the end stands with it.
//  2. The epoch of a producer id never falls. A producer id whose epochs are exhausted is
//     replaced by a new one with epoch 0; the greatest epoch that a client gets is 32,766, so
//     that a marker can always have a greater one.
//  3. An open transaction has a deadline. At it, it is aborted with a raised epoch: its
//     producer can only find out, not go on.
//  4. The partitions of an end are exactly those that were added since the transaction began.
//     They were in records before any batch of the transaction could be in a partition.
//  5. What an answer says is in the records taken with it or before it.
//  6. Replaying the records that were taken, in order, gives the same state. What is not in
//     Kafka's format is found again as far as the state tells it: the epoch before the
//     current one, which a request that is sent again has.
//  7. Equal inputs give equal outputs: no map order, clock or randomness leaks.
//  8. The number of ids, of partitions in a transaction and the size of its record are bounded.
//     When there are too many ids, the one that is idle longest is forgotten, which fences its
//     producer: batches of a transaction are taken only while the coordinator knows it.
//
// # Who calls what
//
// The broker's coordinator has a turn per Core, and only who holds it touches the Core. It calls
// one method per request, Tick at the Deadline, and after each of them, or after several,
// Take. It appends the records of a Take as one batch, in one act with the markers of all ends
// in it; before the act it closes the ended transactions to batches, after it opens what was
// opened, and sends the answers. When the act fails, the Core has run ahead of the log: it is
// thrown away and another one made by Replay, Ready and Finish.
//
// # Left out on purpose
//
// Two-phase commit (KIP-939), which Apache Kafka 4.3 has switched off. The check that a topic
// exists is the caller's, who knows the topics: partitions come with the id of their topic, so
// that the end of a transaction cannot reach a new topic of the same name.
package txn
