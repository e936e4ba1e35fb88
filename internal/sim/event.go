package sim

// Partition names one partition of one life of a topic: a topic that is deleted
// and created again under its name has another Topic here ("t#2").
type Partition struct {
	Topic  string
	Number int32
}

// Record is the identity of one record: each is given to a producer once.
type Record struct {
	Writer int32
	Seq    int64
}

// Acks is what a writer waits for.
type Acks int8

const (
	AcksAll    Acks = iota // acks=all: durable
	AcksLeader             // acks=1: written
	AcksNone               // acks=0: nothing
)

// Durability is the mode that the broker runs in.
type Durability int8

const (
	Sync Durability = iota // an acknowledgement with acks=all survives a power cut
	OS                     // it survives a killed process only
)

// Event is something that a client saw or that was done to the broker. Those of
// transactions are in txnevent.go.
type Event interface{ apply(l *Ledger) }

type (
	// Writes says how a writer writes; without it acks=all and idempotent.
	Writes struct {
		Writer        int32
		Acks          Acks
		NotIdempotent bool // retries may repeat and reorder records
	}
	// Sent: a record was given to the producer.
	Sent struct {
		Record    Record
		Partition Partition
	}
	// Acked: the record was acknowledged at this offset; -1 if the answer told none.
	Acked struct {
		Record Record
		Offset int64
	}
	// Unknown: the producer gave the record up. It may be in the log, once.
	Unknown struct{ Record Record }
	// Stuck: the record had no answer long after the last fault.
	Stuck struct{ Record Record }
	// Read: a reader that reads on and on was given the record at the offset.
	Read struct {
		Reader    string // within one session of it offsets follow one another
		Partition Partition
		Offset    int64
		Record    Record
	}
	// Delivered: as Read, by a member of a group. Reader is one for each time that
	// a member was given the partition, Floor what Ledger.Floor said when it was:
	// before the member asked for the committed offset, where it begins.
	Delivered struct {
		Group     string
		Reader    string
		Floor     int64
		Partition Partition
		Offset    int64
		Record    Record
	}
	// Garbled: a reader was given bytes that no writer wrote.
	Garbled struct {
		Partition Partition
		Offset    int64
		Value     string
	}
	// Bounds: the broker was asked where the partition begins and ends. Of one
	// partition they come in the order of the questions.
	Bounds struct {
		Partition    Partition
		High, Stable int64
	}
	// ReadBack: what the log holds in the end, in the order it was read.
	ReadBack struct {
		Partition Partition
		Offset    int64
		Record    Record
	}
	// EndOfLog: all below High was asked for; Why is set if it did not all come.
	EndOfLog struct {
		Partition   Partition
		Start, High int64
		Why         string
	}
	// Deleted: the topic was deleted; nothing of it has to be there any more.
	Deleted struct{ Topic string }
	// Committed: a group's offset was acknowledged to the member that committed it.
	Committed struct {
		Owned
		Offset int64
		Sent   int // what Ledger.Clock said before the commit was sent
	}
	// CommitUnknown: a commit without an answer, or with an error, which an attempt
	// without an answer may have come before. It may come into force, even late,
	// but only in a process that had been started by then.
	CommitUnknown struct {
		Group       string
		Partition   Partition
		Offset      int64
		Incarnation int  // when it was given up
		Refused     bool // the answer was that the member is not what it takes itself for
	}
	// CommitSeen: the group's offset as the broker tells it, -1 for none. Floor is
	// what Ledger.Floor said before the question was asked.
	CommitSeen struct {
		Group         string
		Partition     Partition
		Offset, Floor int64
	}
	// Owned: a member was assigned the partition, or has it still, in this
	// generation or member epoch. Members that come after one another under one
	// instance id are one.
	Owned struct {
		Group, Member string
		Epoch         int32
		Incarnation   int // how often the broker had been started
		Partition     Partition
	}
	// LetGo: the member does not have the partition any more: it was told so and
	// has not answered yet, or left, or found out that it was taken for dead, or died.
	LetGo struct {
		Group, Member string
		Partition     Partition
	}
	// Caught: in the end the group was given time to come to High; Committed is
	// how far it came.
	Caught struct {
		Group           string
		Partition       Partition
		Committed, High int64
	}
	// PowerCut: the broker's process is dead, and what was not synced is gone. It
	// is added before the next start, so that what is sent after it is answered
	// by the next process.
	PowerCut struct{}
	// Broken is found outside of the ledger.
	Broken struct{ Anomaly Anomaly }
)
