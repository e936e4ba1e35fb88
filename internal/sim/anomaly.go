package sim

import "fmt"

// Kind names a broken promise.
type Kind string

const (
	LostWrite         Kind = "lost-write"            // acknowledged, and not in the log
	Duplicate         Kind = "duplicate"             // one idempotent record twice in the log
	Reordered         Kind = "reordered"             // a writer's later record before an earlier one
	WrongOffset       Kind = "wrong-offset"          // in the log, but not where the answer said
	OffsetGap         Kind = "offset-gap"            // an offset below the end that holds nothing
	InconsistentValue Kind = "inconsistent-offset"   // one offset showed two records
	ReadThenLost      Kind = "read-then-lost"        // a reader saw it, and it is gone
	PollSkip          Kind = "poll-skip"             // a reader was led past an offset
	NonmonotonicPoll  Kind = "nonmonotonic-poll"     // a reader was led back
	HighRegressed     Kind = "high-watermark-fell"   // the high watermark went back
	StableRegressed   Kind = "stable-offset-fell"    // the last stable offset went back
	CommitLost        Kind = "acked-commit-lost"     // a group's committed offset is gone
	CommitRegressed   Kind = "committed-offset-fell" // a group's committed offset went back
	DoubleOwner       Kind = "double-ownership"      // two members own a partition in one generation or epoch
	ZombieCommit      Kind = "zombie-commit"         // a commit of who had lost the partition was accepted
	GroupSkipped      Kind = "group-skipped"         // a record that no member was given before its group went on
	GroupStuck        Kind = "group-stuck"           // a group that does not come to the end of the log
	ProducerStuck     Kind = "producer-stuck"        // records without an answer long after the last fault
	Phantom           Kind = "phantom"               // a record that nobody sent there, or with other bytes
	TopicLost         Kind = "topic-lost"            // acknowledged creation, and no such topic
	TopicUndead       Kind = "topic-undead"          // acknowledged deletion, and the topic is there
	Unreadable        Kind = "unreadable"            // the end of a log could not be reached
	Ended             Kind = "unordered-exit"        // the broker ended by itself, or with a wrong code
	NotStarted        Kind = "not-started"           // the broker did not start again
	SlowStop          Kind = "slow-stop"             // it took longer than allowed to end
	SlowReturn        Kind = "slow-return"           // it took longer than allowed to accept writes again
	WrongBytes        Kind = "wrong-bytes-served"    // damaged bytes reached a reader
	SilentCut         Kind = "silent-cut"            // damage made records vanish without a word
	SpaceLeak         Kind = "space-leak"            // the directory holds far more than what was written
	NotHealed         Kind = "not-healed"            // damage that can be repaired was refused
	AbortedShown      Kind = "aborted-shown"         // a reader of what is committed was shown what is not
	CommittedHidden   Kind = "committed-hidden"      // such a reader was led past what is committed
	TornTxn           Kind = "torn-transaction"      // a transaction that is committed in one place and not in another
	WrongEnd          Kind = "wrong-end"             // a transaction did not end as it was asked or answered
	StableHangs       Kind = "stable-offset-hangs"   // a transaction is open longer than it may be
	ZombieTxn         Kind = "zombie-transaction"    // what a fenced producer sent was accepted
	CopyLost          Kind = "copy-lost"             // read, and never processed
	CopyTwice         Kind = "copied-twice"          // read once, and processed twice
)

// Anomaly is one broken promise and the facts that show it.
type Anomaly struct {
	Kind Kind
	What string
}

func (a Anomaly) String() string { return fmt.Sprintf("%s: %s", a.Kind, a.What) }

// maxKept is how many anomalies are kept with their facts; all are counted.
const maxKept = 50

// findings counts anomalies and keeps the first of them.
type findings struct {
	count map[Kind]int
	first []Anomaly
}

func (f *findings) add(kind Kind, format string, args ...any) {
	if f.count == nil {
		f.count = map[Kind]int{}
	}
	f.count[kind]++
	if len(f.first) < maxKept {
		f.first = append(f.first, Anomaly{kind, fmt.Sprintf(format, args...)})
	}
}
