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
//  4. An assignor writes nothing to its Spec.
//
// # Left out on purpose
//
// Racks: the broker is one node, so no replica is nearer than another.
package assignor
