// Package sim is the fault suite: clients at work on a broker that is killed,
// cut from power, out of disk, or given damaged files, and a ledger that tells
// whether the broker kept its word. Only tests import it.
//
// A Ledger is the checker. It is pure: events go in (a record sent, acknowledged,
// read; an offset committed, seen; a partition owned), anomalies come out. A Load
// is the clients: idempotent writers, weaker ones, a reader that reads through all
// faults, a consumer group whose members come and go, a topic that is created
// and deleted again and again, and a sampler of high watermarks and committed
// offsets. A Process is the broker's process. A Run has all three and does the
// faults.
//
//	Run ── faults ──▶ Process ◀── the Kafka protocol ── Load
//	                                                     │ events
//	                          Report ◀── anomalies ── Ledger
//
// What is judged:
//
//  1. An acknowledged record is in the log, once, at the offset of the answer.
//     With acks=1 a power cut may take it, and with durability os, too; with
//     acks=0 anything may. A record without an answer may be there or not, once.
//  2. In each partition an idempotent writer's records stand in its order, and
//     offsets have no gaps.
//  3. What one reader was shown at an offset every reader is shown, for ever;
//     high watermarks never go back. Durability os with power cuts excepted.
//  4. A committed offset never goes back, and each generation of a group has one
//     owner for each partition. A commit without an answer may count, even late.
//  5. The broker ends only when told to, with the right code and in time, and it
//     starts again after anything.
//
// To run it, with other figures for a longer run and the seed that a run prints
// to repeat its faults (as far as the machine repeats itself):
//
//	go test ./internal/sim -run Faults -faults -v -timeout 30m \
//	    -faults.kills=100 -faults.powercuts=60 -faults.episodes=20 -faults.places=1000
//	go test ./internal/sim -run Faults/Recovery -faults -v -faults.recovery=1024   (MiB of log)
//
// Power cuts, full disks and failing system calls need Linux, root, and strace;
// they skip otherwise. A plain go test runs the ledger's tests and a few kills.
//
// A power cut is ext4 told to stop without writing its own journal, in a mount
// namespace of its own. In a third of the cuts the process is dead before, in a
// third it is stopped before and killed after, so that it cannot answer for a
// call that was on its way; in the rest it meets the dead disk, and has to end.
//
// The ledger's own tests give it a broker that lies, and streams of events with
// one lie in them: each kind of anomaly must be found.
//
// Goroutines belong to a Load, whose Finish waits for them. All that clients do is
// bounded in rate; the ledger's memory grows with the records of a run.
//
// Left out on purpose: nothing here looks into the broker's memory, and into its
// files only to damage and to weigh them. What a power cut does to single sectors
// (later ones kept, earlier ones lost) is tested on the file system in memory, by
// internal/storage and internal/journal.
package sim
