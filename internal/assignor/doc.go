// Package assignor holds the server-side assignors of the next generation
// consumer protocol (KIP-848), under the names that Kafka gives them: uniform
// and range. An assignor is a pure function from the members of a group, what
// they subscribe to and what they have now, to what each of them shall have.
//
// # Nouns
//
// A Spec is one group at one moment. A member is static when it has an instance
// (KIP-345). What a member owns is its part of the group's current target, not
// what its client has said. A group is homogeneous when all of its members
// subscribe to the same topics.
//
// # Invariants
//
//  1. Every partition of a topic that somebody subscribes to has exactly one
//     member, and that member subscribes to it.
//  2. Every member has an entry in the Assignment; lists of partitions ascend and
//     are never empty.
//  3. Equal specs give equal assignments: no map order leaks.
//  4. An assignor writes nothing to its Spec, and what it returns shares no memory
//     with it.
//  5. Uniform leaves the members of a homogeneous group within one partition of
//     each other, and moves as few partitions as that takes. With unequal
//     subscriptions it is as even as they allow, in groups too large to search
//     nearly so.
//  6. What an assignor gave, given back as what is owned, is given again.
//
// # Time and memory
//
// The coordinator waits for the assignor, so it must be done soon whatever the
// group looks like. Range and a homogeneous uniform take time in proportion to
// members × their topics + partitions. Unequal subscriptions take at most sixteen
// rounds over that, sorted, and then a search of at most maxSteps steps. For 1,000
// members and 10,000 partitions of 100 topics it is 4 ms and 4 MB that are given
// back, all of it maps of the answer; groups made to be difficult take up to 25 ms.
//
// # Left out on purpose
//
// Kafka's order of handing out: it fills one member after another, so that a
// member may get all of one topic and another all of a second one. Here each gets
// some of every topic.
//
// Racks: the broker is one node, so no replica is nearer than another.
package assignor
