// Command spike measures what doc/adr/0001 decides: durable appends of record
// batches to many partitions, by three ways of making them durable.
//
//   - file: each partition has a file; an append waits for an fdatasync of it,
//     shared with the other appends of that partition (group commit).
//   - journal: an append goes unsynced to its partition's file and, as a frame,
//     to one shared journal of four recycled, pre-zeroed files. One write and
//     one fdatasync cover all frames that wait; the next group is written while
//     the last one syncs. Every 64 MB of journal a checkpoint syncs the files of
//     the partitions.
//   - reference: as file, and then 64 bytes in the journal: what a large batch
//     costs if only a reference to it is in the journal.
//
// The time of a round ends when all it wrote is durable in the partitions'
// files, so no way gets credit for work it leaves behind. The ways take turns
// in each round, and the table shows medians and ratios to file: absolute
// figures belong to one machine at one hour.
//
//	go run ./bench/spike -dir DIR
//
// It is a measurement and not the product: it keeps nothing, reads nothing back
// and checks no checksum. It owns DIR/spike-*, and removes it after each round.
package main
