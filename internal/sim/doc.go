// Package sim is the fault suite: clients at work on a broker that is killed,
// cut from power, out of disk, or given damaged files, and a ledger that tells
// whether the broker kept its word. Only tests import it.
//
// A Ledger is the checker. It is pure: events go in (a record sent, acknowledged,
// read, delivered to a group; an offset committed, seen; a partition owned, let go),
// anomalies come out. A Load is the clients: idempotent writers, weaker ones, a reader
// that reads through all faults, a consumer group of each Protocol, a topic that is
// created and deleted again and again, and a sampler of high watermarks and committed
// offsets. With transactions there are writers that commit, abort, go away and are taken
// over by others of their transactional id; enders, which ask for the end of a
// transaction twice, late, and both to commit and to abort; a reader of what is committed;
// and copiers, which read, write and commit where they are in one transaction. Members of groups come and go, die without a word, and stand still until
// they are taken for dead and then commit; some are static. A Process is the broker's
// process. A Run has all three and does the faults.
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
//  4. A committed offset that was acknowledged is there after anything, and never goes
//     back: not when it is asked for, at once after every second restart and all the
//     time, and not when a member begins where its group stood. A commit without an
//     answer may count, even late, but not in another process than it may have
//     reached.
//  5. Each generation or member epoch of a group has one owner for each partition, and
//     a member has what it has in all epochs from the one it was given it in until
//     it lets go, leaves, dies or is told that it was taken for dead. When another
//     one was given the partition in a later epoch, its commits are refused: that is
//     how a member that was taken for dead is told from an owner, and no clock is
//     asked. Of a group that migrates between the protocols this is not judged: when
//     it was empty its epochs begin anew, as in Apache Kafka.
//  6. A group skips nothing: no member is given a record, and no offset is committed or
//     told, before all records below were given to some member. In the end each group
//     comes to the end of the log, and every acknowledged record was given to it.
//  7. A transaction is committed in all its partitions or in none, as the markers in the
//     logs tell; as it was answered, if it was; and only if that was asked for. Readers of
//     what is committed are shown that, all of it, and nothing else. No transaction is
//     open, and no last stable offset stands still, for more than its timeout and five
//     seconds in which the broker could be asked. What a producer sends after another one
//     was given its transactional id is refused. Each committed record that copiers read
//     leads to one committed copy. Durability os with power cuts excepted.
//  8. The broker ends only when told to, with the right code and in time, and it
//     starts again after anything.
//
// To run it, with other figures for a longer run and the seed that a run prints
// to repeat its faults (as far as the machine repeats itself):
//
//	go test ./internal/sim -run Faults -faults -v -timeout 30m \
//	    -faults.kills=100 -faults.powercuts=60 -faults.episodes=20 -faults.places=1000
//	go test ./internal/sim -run Faults/Recovery -faults -v -faults.recovery=1024   (MiB of log)
//	go test ./internal/sim -run Faults/Virtual -faults -v -faults.virtual=100
//	go test ./internal/sim -run Faults/Ends -faults -v -faults.ends=100000   (of transactions)
//
// Power cuts, full disks and failing system calls need Linux, root, and strace;
// they skip otherwise. A plain go test runs the ledger's tests, a few kills, and one of
// the runs on virtual time: there the broker is in memory, is killed and loses power,
// too, and groups go through hundreds of changes in two seconds.
//
// A power cut is ext4 told to stop without writing its own journal, in a mount
// namespace of its own. In a third of the cuts the process is dead before, in a
// third it is stopped before and killed after, so that it cannot answer for a
// call that was on its way; in the rest it meets the dead disk, and has to end.
//
// The ledger's own tests give it a broker that lies, and streams of events with
// one lie in them: each kind of anomaly must be found. What groups of each protocol and
// transactions were judged by is counted in the report.
//
// Goroutines belong to a Load, whose Finish waits for them. All that clients do is
// bounded in rate; the ledger's memory grows with the records of a run.
//
// Left out on purpose: the commits of members are requests of our own, since the
// client's function does not tell the epoch that it names; those of enders, since no
// client's library asks as they do. Transactions are not judged by time but for the
// last stable offset: that a commit can be read as soon as it is answered is tested in
// broker. Nothing here looks into the broker's memory, and into its files only to damage
// and to weigh them. What a power cut does to single sectors (later ones kept, earlier
// ones lost) is tested on the file system in memory, by internal/storage and
// internal/journal.
package sim
