// Package shop is the demonstration's subject without any streaming in it: one
// real day of a shop's invoice lines, and the three questions asked of them.
//
// A [Line] is one line of an invoice. Three states take lines one by one, each
// in any order between invoices and in order within one: [Stock] (what is left,
// what must be reordered), [Fraud] (large returns, bursts of one customer) and
// [Baskets] (what is bought together). Each refuses the lines that are broken
// for its purpose with an error that says why; the caller sends those to a
// dead-letter topic.
//
// Two invariants make the demonstration checkable:
//
//  1. A state's final answers depend on the set of lines it was given, not on
//     how invoices interleave, so any number of partitions and consumers reaches
//     the same ones.
//  2. States of one kind merge: what the members of a group found, each in the
//     lines of its own partitions, adds up to what one would have found in all.
//
// So [Expected], computed from the file alone, must equal what the applications
// found behind a broker. Nothing here knows of topics, goroutines or clocks.
package shop
