package sim

import "time"

// Txn names one transaction of one producer, which is a client from the begin of its
// process to the end: a transactional id has several after one another.
type Txn struct {
	Producer string
	Number   int64
}

// marker is the Record that stands for the end of a transaction in a log: such a
// record has no writer.
func marker(producer int64, commit bool) Record {
	if commit {
		return Record{commitMarker, producer}
	}
	return Record{abortMarker, producer}
}

const (
	commitMarker = -1
	abortMarker  = -2
)

func (r Record) isMarker() bool { return r.Writer == commitMarker || r.Writer == abortMarker }

type (
	// SentIn: as Sent, in a transaction.
	SentIn struct {
		Sent
		Txn Txn
	}
	// Made: a copier has made the record, which it will send, from one that it read.
	Made struct{ Record, From Record }
	// EndAsked: the producer is about to ask for the end of its transaction. Each
	// request of it is one.
	EndAsked struct {
		Txn    Txn
		Commit bool
	}
	// EndAnswered: the end was acknowledged.
	EndAnswered struct {
		Txn    Txn
		Commit bool
	}
	// StaleEnd: the end was asked for with an epoch that nobody has any more.
	StaleEnd struct {
		Txn      Txn
		Accepted bool
	}
	// Fenced: another producer has taken over the transactional id of the one that has
	// this transaction open, and was answered. What that one sends from now on is
	// refused, and the transaction is committed only if that was asked for before.
	Fenced struct{ Txn Txn }
	// Refused: a record of a producer that was fenced was refused as it must be.
	Refused struct{ Record Record }
	// Shown: a reader of what is committed was given the record, or a marker, at the
	// offset. It began at the start of the log.
	Shown struct {
		Reader    string
		Partition Partition
		Offset    int64
		Record    Record
	}
	// ShownTo: such a reader has come to the end of what it was shown.
	ShownTo struct {
		Reader    string
		Partition Partition
		End       int64
	}
	// ReadBackIn: as ReadBack, of a record of the transaction that the producer id has
	// open here.
	ReadBackIn struct {
		ReadBack
		Producer int64
	}
	// Watched: the broker was asked where the partition is stable, and could be asked
	// for so long since it was asked last. Most is how long a transaction may be open.
	Watched struct {
		Partition    Partition
		Stable, High int64
		For, Most    time.Duration
	}
	// Copies: each committed record of From, and nothing else, is to lead to one
	// committed record of To.
	Copies struct{ From, To string }
	// CopiedAll: in the end the copiers were given time to come to High; Committed is
	// how far they came.
	CopiedAll struct {
		Partition       Partition
		Committed, High int64
	}
)

// TxnCount is how much of transactions was judged.
type TxnCount struct {
	Committed, Aborted int // as the log says in the end
	Unanswered         int // of both, how many had no answer to their end
	Abandoned          int // of the aborted, how many were left without a word
	Ends               int // requests to end a transaction
	Stale              int // of these, with an epoch that nobody had any more
	Fenced             int // producers that another one took the transactional id from
	Refused            int // records of those
	Shown              int // records to readers of what is committed
	Copied             int // records that were copied once
}
