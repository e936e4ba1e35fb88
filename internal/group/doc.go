// Package group is the logic of Kafka's group coordinator for classic consumer
// groups: membership, generations, assignments and committed offsets. It is a
// pure state machine. It has no goroutine, clock, lock or I/O: a request and the
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
// holds offsets, never having had members, is a simple group.
//
//	           first join           all joined, or time is up
//	Empty ──────────────▶ PreparingRebalance ──────────────▶ CompletingRebalance
//	  ▲                        │      ▲  ▲                        │        │
//	  └────────────────────────┘      │  └────────────────────────┘        │
//	       nobody is left             │   member changes                   │ leader
//	                                  └──────────────── Stable ◀───────────┘ syncs
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
//     generation stood, and its members find out by joining again.
//  4. The generation of a group never falls, and an assignment is given out
//     only after the record that holds it.
//  5. At most one member is the leader, and only of a group that has members.
//  6. An offset leaves only with a tombstone.
//  7. What members sent is counted, by group and over all Cores; a join or an
//     assignment for which there is no room changes nothing.
//  8. Equal inputs give equal outputs: no map order, clock or randomness leaks.
//  9. Offsets expire only when no member needs them: those of an empty group, and in
//     a stable group of consumers those of topics that nobody subscribes to. Where
//     the broker cannot read what members want, it keeps all.
//  10. Timelines take a bounded amount of memory, whatever clients do, and nothing
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
// # Who calls what
//
// The broker's coordinator owns one goroutine per Core and nothing else touches
// it. It calls one method per request (Join and Sync answer through Take, all
// others return their answer), Tick at the Deadline, and after each of them Take.
// It appends the records as one batch before it sends any answer. When the append
// fails, the Core has run ahead of the log: it is thrown away and another one is
// made by Replay and Ready.
//
// Answers carry Kafka's error codes, because which code a rule answers is part of
// the rule. Requests are only read; bytes that are kept are copied, strings are not.
//
// # Left out on purpose
//
// Groups of the next protocol (KIP-848) add record types beside the two here and a
// second kind of membership beside classic; offsets are kept apart from membership
// for that reason. Offsets of open transactions will stand beside the committed
// ones of a group, and requireStable then asks for them. Timelines are not in the
// log: after a restart they begin anew.
package group
