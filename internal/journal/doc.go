// Package journal is the shared log that makes commits durable: one writer
// drains all that is waiting into one write and one sync, into files that are
// used again and again.
//
// # Nouns
//
// A Frame holds one commit whole: entries, one for each partition, with record
// batches. Its LSN counts frames without a gap. A Group is what the writer
// writes at once. An Incarnation is one life of the process; a Span is the run
// of LSNs it wrote. A checkpoint keeps the State: where replay begins, the
// spans from there on, and how far the journal was synced. A Spare is a file
// that is ready to be used next.
//
// # Invariants
//
//  1. A frame counts only with the next LSN and the incarnation that the spans
//     give for it. Replay shows a run of frames without a gap.
//  2. Every Start begins a new incarnation in a file that no frame of it was
//     ever in. So frames of earlier lives, in recycled files or behind a torn
//     frame, can never be taken for current ones, however many or few frames
//     are written and however often recovery is interrupted. Erasing what
//     stands behind a torn frame before writing on is therefore not needed.
//  3. A frame that cannot be read, and that was recorded as synced (in the
//     State, or in any good frame behind it), is corruption: a CorruptError
//     with the place. Otherwise it is torn, and the journal ends before it.
//  4. Start syncs what Replay accepted. After a killed process the frames may
//     stand in the page cache only, and the next frames would call them synced.
//  5. A file's header and name are durable before a frame goes into it, and so,
//     where frames are synced, is its number in the file newest: that the newest
//     file is gone would otherwise look like the journal's end (CheckNewest).
//     Frames do not span files; a file may end early.
//  6. Of an LSN, partitions learn that it is durable (Notifier) before those
//     who wait for it, and both in LSN order.
//  7. After the first failed write, sync, create or rename nothing is written
//     or synced any more, and nothing is retried: after a failed fsync the page
//     cache tells lies. Only a file that does not fit on a full disk is
//     forgiven: the preparer leaves the spare out, and the writer waits for room
//     with the frames in memory, until Close.
//  8. No lock is held across a write, a sync or a Notifier.
//
// # Who does what
//
// One goroutine calls Open, Replay and Start in turn; then everything is safe
// for concurrent use, and Close waits for the three goroutines:
//
//	Append ─▶ pending ─▶ writer ─▶ file ─▶ syncer ─▶ Notifier, waiters
//	            ▲          │ next file                │ file synced to its end
//	         Reserve       ▼                          ▼
//	                     spares ◀───── preparer ◀── released files
//
// The writer takes what is pending while the syncer syncs the group before:
// two buffers. While a sync runs, less than 256 KiB is not written before its
// end, unless somebody waits for the write or for room; so many small frames
// cost one write, and acks=1 never waits for a sync of others. Right after a
// sync the writer goes first, so that the next sync covers what has gathered.
// There is no timer: an idle journal syncs a lone frame at once. Without syncs, who
// appends and waits (AppendWritten) has the writer's turn himself when it is free.
//
// Bounds: Config.BufferBytes of frames that are not written, four times as much
// written and not synced, two spares. The preparer makes one spare ahead once a
// quarter of the current file is used; without a spare the writer makes a file
// itself and zeroes 1 MiB of it, and a further one each time it comes to the end
// of what is zeroed (makeReady says why), so the first frame in an empty
// directory waits for no more than that.
//
// Each byte is copied once and summed not at all: the frame's checksum covers
// the headers and the first 21 bytes of each batch, whose own checksum, which
// was verified when it came in, covers the rest. Replay verifies both.
//
// The layout of the files is in doc/format/journal.md.
//
// # Left out on purpose
//
// Frames that refer to large batches in segments: the header has room for it.
// Protection against a record that was made to look like a frame, and that
// stands inside a torn frame: it can make replay refuse, never accept.
// Compression: the batches come compressed.
package journal
