// Package storage keeps the partition logs and makes appends to them durable.
//
// It is the broker's only way to data. A [Store] is one data directory; a
// [Partition] is one log of record batches; [Store.Commit] appends to several
// logs as one atomic act and answers with the number (LSN) of the journal frame
// to wait for; [Partition.Read] finds batches and pins their segment; a
// [Watcher] is woken when readable bytes arrive.
//
// # Nouns
//
// A log is a row of segments, files of whole record batches as their producers
// sent them, base offset and leader epoch stamped. The last one is active, the
// others are sealed. Each segment has an index: sparse, one structure for
// lookups by offset, by time, and for the checksums of what the batches' own
// checksums leave out. The end is the next offset to be assigned; the high
// watermark is the end of what is durable, and nothing behind it is shown. A
// recovery point is how far a log is known to be synced. A checkpoint is a file
// with all recovery points, producer windows and epoch histories, and the place
// in the journal from which frames must be redone upon them.
//
// # Invariants
//
//  1. Partition locks are taken in the order (topic id, partition). Under them
//     offsets are assigned, the segment is written and the frame enqueued, so the
//     order of frames is the order of offsets in each partition.
//  2. In sync mode the frame decides: a start cuts each log to its recovery
//     point and redoes frames. What a segment holds beyond them never happened.
//  3. In os mode the segment decides for commits to one partition, which have no
//     frame: a start takes in whole batches behind the recovery point and cuts at
//     the first that is not. For commits to several partitions the frame decides;
//     it is written before their segments.
//  4. A checkpoint holds bytes only when they are synced, and a part of a commit
//     only when its frame is durable. The journal is released only behind a
//     checkpoint that is durable itself.
//  5. High watermark ≤ end. The high watermark never falls in one life.
//  6. A segment's bytes below its size never change. Readers need no lock for them.
//  7. A file is unlinked at the last unpin, a deleted topic's only when the record
//     of the deletion is durable, and that of a segment which left its log only
//     when a checkpoint is durable that does not list it: a start opens what is
//     listed. The log start never falls, and moves only when the record of it is
//     durable.
//     Compaction takes no segment that is not below the recovery point of a
//     durable checkpoint and the last stable offset, and not the last batch below
//     the high watermark.
//  8. A producer's window is primary state. It is in each checkpoint at exactly
//     the offset of the recovery point, and batches redone or scanned behind it
//     move it as appends did. Batches may go, the windows that they made stay,
//     until they are idle for too long or there are too many. So with the open
//     transaction of a producer, which is part of its window, and keeps it.
//     The last stable offset is the first offset of the oldest transaction that is
//     open or whose marker is not durable, at most the high watermark. It never
//     falls in one life.
//  9. What fails is final: the first failed write, sync or rename closes Failed
//     and refuses all appends from then on. A full disk is no failure: appends
//     stop before the journal's next file would not fit, the reserve is given back
//     for it, and if that is not enough the frames wait for room. A damaged log
//     refuses its own appends and reads only; appends go on when all its records
//     were deleted.
//  10. No length read from a file leads to an allocation before as many bytes
//     have been seen to be there.
//
// # Locks and goroutines
//
// All methods may be called from any goroutine; Recover comes first, once. The
// order is Partition.mu, then Partition.state, then index.mu; fileSet and
// ballast have locks of their own below these. Partition.mu is held across the
// write to the segment, and in os mode across the write of a frame of several
// partitions. Partition.state is never held across anything that waits: the
// journal moves the high watermark under it. A backup takes Store.changing and
// then the locks of all partitions, to note where they end. There is no lock that two partitions
// share on the way of an append or a read.
//
// The Store owns five goroutines, from Recover to Close, which waits for them: one
// writes checkpoints, one keeps the ballast, one waits for the journal's failure,
// one unlinks segments that left their logs, one compacts logs (see [Clean]) and
// holds a partition's locks only to look at its segments and to swap them. Queues: a partition's frames that are
// not durable yet, bounded by the journal's buffer; one token that asks for a
// checkpoint; segments to be unlinked, bounded by the disk they are on. When to
// look for what is too old is the caller's affair: Expired and SetStart.
//
// [Check] and [Salvage] read a directory that no Store has open, and change
// nothing in it; they own no goroutine.
//
// # Layout
//
//	Dir/lock                            held while open
//	Dir/unfinished                      as long as a restore or a salvage fills Dir
//	Dir/format                          "weir data 1"
//	Dir/checkpoint                      replaced as a whole
//	Dir/ballast                         the reserve against a full disk
//	Dir/journal/                        package journal's
//	Dir/topics/<topic id, hex>/<partition>-<base offset, 20 digits>.log
//	                                       and .index; .txnindex once a transaction
//	                                       was aborted in it; -<generation> before
//	                                       that once compacted
//
// Partitions share their topic's directory, where Apache Kafka gives each its
// own: a checkpoint syncs directories, and a start lists them, so one instead of
// a thousand counts. Formats: doc/format/segment.md, index.md, txn-index.md,
// checkpoint.md.
//
// # Envelope
//
// An append costs one copy into the journal's buffer and one write to the
// segment, and a checksum of 17 bytes for each batch; the batch's own checksum
// was verified once, before. At 16 KiB that is about 11 µs without and 20 µs with
// the journal's frame on a 2-core virtual machine, nearly all in the kernel's
// copies. A checkpoint comes each 64 MiB, so a start redoes 64 MiB at most: two
// passes over the journal at memory speed (60 ms each) and a comparison with the
// segments; only what they lack is written. With nothing to redo, a start with
// 1,000 used partitions takes 25 ms. A checkpoint file has about 80 bytes for
// each partition that was written to and 40 to 120 for each of its producers:
// under 1 MB for 10,000 partitions, and 12 MB more for 100,000 producers. Memory: about 520 bytes for an empty
// partition; a used one adds 600 for each segment and at most 4 KiB of index
// entries that are not flushed, nothing per batch. A read of new data at the end
// of a log costs one pread; one elsewhere a binary search in the index file and
// one read of at most 4 KiB. Compaction holds 24 bytes for each key, 32 MiB at
// most, and two buffers of 256 KiB or the largest batch, while it works.
//
// # Left out on purpose
//
// Who may begin or end a transaction is a coordinator's affair; a log follows the
// batches and markers that come. A backup leaves transaction indexes out, as all
// indexes: they are made anew. Deleting an index costs time and no data,
// so indexes of active segments are never synced. Bytes 0-16 of batches behind a segment's
// last index entry, 4 KiB at most, are compared with their neighbours only.
// A directory of one life in os mode survives a kill whole; after a power cut
// it opens, with each log cut where it is torn.
package storage
