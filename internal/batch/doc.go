// Package batch reads, checks and builds Kafka record batches, format v2: the
// bytes that producers send, that lie in segments and in the journal, and that
// consumers are given, unchanged from end to end.
//
// The nouns. A Batch is a view of the bytes of one whole batch: a header of 61
// bytes and the records. Split cuts batches off a run of bytes. Validate judges
// what a client sent, by the rules of Apache Kafka's LogValidator. Records
// iterates over a batch, decompressing it if it must. Build makes a batch;
// BuildMarker the control batch that ends a transaction, and Batch.Marker reads
// one. A Rewriter makes a batch anew without the records that compaction removes.
//
//	 0          8        12        16   17      21       23         27
//	┌──────────┬─────────┬─────────┬─────┬───────┬────────┬──────────┬──────────
//	│ base     │ length  │ leader  │ mag-│ CRC-  │ attri- │ last off-│ base time-
//	│ offset   │ from 12 │ epoch   │ ic 2│ 32C   │ butes  │ set delta│ stamp …
//	└──────────┴─────────┴─────────┴─────┴───────┴────────┴──────────┴──────────
//	 stamped by the broker                       └─ covered by the checksum ────
//
// doc/format/batch.md has the whole layout.
//
// Invariants:
//
//  1. A Batch has at least HeaderLen bytes, its length field fits its length,
//     and its magic is 2. Only Split, Validate, Build and a Rewriter make one.
//  2. No input makes the package panic, and nothing is allocated because a
//     length field says so: lengths are compared with the bytes that are there,
//     and what decompression yields is bounded by the caller.
//  3. Every error of a client's making wraps exactly one of the reasons in
//     errors.go, so that the broker can choose Kafka's code for it.
//  4. Validate allocates nothing for a good uncompressed batch. It writes to
//     the bytes only to correct the largest timestamp, as Kafka does.
//  5. What Validate accepts without compression, or with Options.Open, Records
//     reads to the end without error.
//
// The functions are pure and start no goroutine. A Batch may be read by many
// goroutines at once; the methods that begin with Set need it for themselves.
//
// Left out on purpose: message formats v0 and v1, which Apache Kafka 4 does not
// take from producers either, and a choice of compression levels: a batch that
// is made anew gets its codec's usual one. Two things differ from Kafka:
// compressed batches are not opened unless asked (design: a broker should not
// inflate a stranger's gigabyte), and negative lengths other than -1 inside a
// record are refused, where Kafka reads null.
package batch
