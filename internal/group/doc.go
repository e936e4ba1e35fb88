// Package group is the logic of Kafka's group coordinator, for groups of the classic
// protocol and of the next one (KIP-848): membership, generations and epochs,
// assignments and committed offsets. It is a pure state machine. It has no goroutine, clock, lock or I/O: a request and the
// time go in; answers, records to append and the next deadline come out. So
// every rule of the protocol is a script of text under testdata.
//
// # Nouns
//
// A Core holds the groups of one partition of __consumer_offsets (a shard). A
// group is a set of members, of committed offsets, or both. A member is dynamic,
// or static when it names an instance (KIP-345). A pending member has been given
// an id and has not joined with it yet (KIP-394). A generation is one round of
// agreement: all join, the leader assigns, all sync. A Token names a request that
// may be answered in a later step; such a request is parked. A group that only
// holds offsets, never having had members, is a simple group. An offset that a producer
// commits in a transaction (KIP-98) is pending until the transaction ends.
//
//	           first join           all joined, or time is up
//	Empty ──────────────▶ PreparingRebalance ──────────────▶ CompletingRebalance
//	  ▲                        │      ▲  ▲                        │        │
//	  └────────────────────────┘      │  └────────────────────────┘        │
//	       nobody is left             │   member changes                   │ leader
//	                                  └──────────────── Stable ◀───────────┘ syncs
//
// A consumer group is one of the next protocol: the server assigns, and nobody waits for
// all others. Its group epoch rises whenever what its members shall have may change. The
// target assignment is made for an epoch, the assignment epoch. A member has an epoch of
// its own and follows: it lets go what is not in its target (the partitions pending
// revocation), says so, takes the target's epoch, and gets of its target what nobody has
// any more. A classic member of a consumer group does the same by JoinGroup and
// SyncGroup, while a group migrates.
//
// # States and events of a consumer group
//
//	Empty        no members
//	Assigning    group epoch > assignment epoch: the next assignment must wait a while
//	Reconciling  a member's epoch is not the assignment epoch, or the member is not stable
//	Stable       all members are stable at the assignment epoch
//
//	event                                   group epoch  target        members
//	a member joins, or wants other topics   +1           made anew     it makes a step
//	topics come, grow or go (SetCluster)    +1           made anew     as they are heard of
//	a member leaves, or its session or      +1           made anew     its partitions are free
//	  rebalance timeout is up
//	heartbeat, as before                                               it makes a step
//	a static member leaves to come back                                its epoch is -2, its partitions stay
//	its next process joins                                             takes its place and its target
//	the last member of the consumer                                    the group becomes a classic one,
//	  protocol leaves, classic ones stay                               and rebalances
//	a member of the consumer protocol       generation   made anew     the group becomes a consumer
//	  joins a classic group                 +1                         group, all keep what they have
//
//	state of a member    says that it has          next
//	stable               (anything)                as its target: stable at the assignment epoch;
//	                                               has more than its target: unrevoked, the epoch stays
//	unrevoked            some of what it must let  unrevoked
//	                     go, or nothing is said
//	unrevoked            none of that              the assignment epoch, with all free partitions of its
//	                                               target: stable, or unreleased if some are not free
//	unreleased           (anything)                as stable; stable when it has got all
//
// # Invariants
//
//  1. Every token is answered once, in the end: by its own step, by a later one,
//     or with an error when its member is removed, fenced or replaced.
//  2. What an answer says is in the records taken with it or before it. Nobody
//     may be told before those records are durable.
//  3. Replaying the records that were taken, in order, gives the same offsets
//     and, for groups that are Stable or Empty, the same membership. A rebalance
//     under way is not kept: after a replay the group stands where its last
//     generation stood, and its members find out by joining again. Of consumer
//     groups the log holds members, epochs and assignments in every state.
//  4. The generation or epoch of a group never falls while it has members, and an
//     assignment is given out only after the record that holds it.
//  5. At most one member is the leader, and only of a group that has members.
//  6. An offset leaves only with a tombstone.
//  7. What members sent, and what their expressions stand for, is counted, by group and
//     over all Cores; a join or an assignment for which there is no room changes nothing.
//  8. Equal inputs give equal outputs: no map order, clock or randomness leaks.
//  9. Offsets expire only when no member needs them: those of an empty group, and in
//     a stable group of consumers those of topics that nobody subscribes to. Where
//     the broker cannot read what members want, it keeps all.
//  10. In a consumer group a partition has one owner at most, from the moment it is given
//     to a member until that member says that it has let it go, or is gone.
//  11. Of all offsets of a partition in the log that are committed, plainly or by the
//     end of their transaction, the last one counts, unless a tombstone follows it; so a
//     log that was compacted says the same. One that is pending is never told, and its
//     group stays.
//  12. Timelines take a bounded amount of memory, whatever clients do, and nothing
//     depends on them.
//
// # Why did it rebalance
//
// Every step that changes a group notes an Event: who, when, why, and when a
// rebalance ends how long it took and how many partitions moved. Timeline tells the
// last hundred. The metadata and assignments of consumers are read for that, and
// for what expires, as far as all versions of their protocol begin alike; all other
// bytes of clients pass through unread.
//
// # Two protocols, one group
//
// What is common (offsets, timers, memory, the timeline) knows only group. Its classic
// part and its consumerGroup are never in use at the same time, except that the state of
// both stands in classic. Files named consumer_*.go are the next protocol's; of the two,
// consumer_classic.go serves classic requests to consumer groups, consumer_migrate.go
// makes one kind of the other. Targets come from package assignor.
//
// # Who calls what
//
// The broker's coordinator owns one goroutine per Core and nothing else touches
// it. It calls one method per request (Join and Sync answer through Take, all
// others return their answer), Tick at the Deadline, and after each of them Take.
// It appends the records as one batch before it sends any answer. When the append
// fails, the Core has run ahead of the log: it is thrown away and another one is
// made by Replay, ReplayEnd and Ready. A record with a producer (Record.Txn) goes into a
// transactional batch. When a transaction has ended, and its marker is in the log, EndTxn
// is called before any other step. Whenever topics or settings of groups have changed it
// calls SetCluster, first of all before Ready, and says which topics have changed. An
// Expression it makes where it has the request, before the Core's turn. Those that are
// Unresolved after Ready it matches beside the Core, and calls Resolve with each.
//
// Answers carry Kafka's error codes, because which code a rule answers is part of
// the rule. Requests are only read; bytes that are kept are copied, strings are not.
//
// # Left out on purpose
//
// Client-side assignors of the next protocol, which Kafka does not have either. Racks:
// they are kept and described, no assignor asks for them. Whether a transaction is open,
// and which groups may be part of it, is known to the coordinator of transactions.
// Timelines are not in the log: after a restart they begin anew.
package group
