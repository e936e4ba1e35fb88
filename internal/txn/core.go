package txn

import (
	"container/list"
	"time"
)

// Config holds what a Core needs of its surroundings. All but NewProducerID may be zero; the
// values in brackets are then used, the first two of them Kafka's defaults.
type Config struct {
	MaxTimeout    time.Duration // [15 min] that a producer may ask for
	IDExpiration  time.Duration // [7 days] after which an id without an open transaction is forgotten
	MaxIDs        int           // [10,000] in all Cores that share Count
	MaxPartitions int           // [10,000] in one transaction
	MaxRecord     int           // [1 MiB] bytes of the record of a transaction
	MaxTick       int           // [1 MiB] bytes of records and markers after which a Tick leaves the rest to the next
	// NewProducerID makes a producer id that was never used. A step asks for one at most.
	NewProducerID func() int64
	// Count counts n ids more (or fewer) and returns their number in all Cores. Nil: this
	// Core is alone.
	Count func(n int) int
}

func (c Config) withDefaults() Config {
	if c.MaxTimeout == 0 {
		c.MaxTimeout = 15 * time.Minute
	}
	if c.IDExpiration == 0 {
		c.IDExpiration = 7 * 24 * time.Hour
	}
	if c.MaxIDs == 0 {
		c.MaxIDs = 10_000
	}
	if c.MaxPartitions == 0 {
		c.MaxPartitions = 10_000
	}
	if c.MaxRecord == 0 {
		c.MaxRecord = 1 << 20
	}
	if c.MaxTick == 0 {
		c.MaxTick = 1 << 20
	}
	if c.Count == nil {
		sum := 0
		c.Count = func(n int) int { sum += n; return sum }
	}
	return c
}

// MaxID is the longest transactional id, in bytes. Each is in the log again and again.
const MaxID = 1024

// Record is one record for the partition of __transaction_state.
type Record struct {
	Key   []byte
	Value []byte // nil: a tombstone
}

// Kind is what a Change does.
type Kind int8

// The kinds.
const (
	Opened    Kind = iota // batches may go to these partitions, too
	Committed             // the transaction ends in all its partitions
	Aborted
)

// Reason is why a transaction ended.
type Reason string

// The reasons.
const (
	ByProducer Reason = "producer"  // EndTxn
	ByTimeout  Reason = "timeout"   // it was open for too long
	ByFencing  Reason = "fenced"    // InitProducerId of another producer with this id
	ByRecovery Reason = "recovered" // the log had the decision and not the end
)

// Change is what a step means for the partitions of a transaction.
type Change struct {
	Kind            Kind
	TransactionalID string
	ProducerID      int64
	Epoch           int16 // of the batches that may come, or of the markers
	Partitions      []Partition
	Version         int16 // of the protocol that an end follows: from 2 on its epoch is a new one
	Reason          Reason
}

// Output is what piled up since the last Take, in the order of the steps.
type Output struct {
	Records []Record
	Changes []Change
}

// Core holds the transactional ids of one partition of __transaction_state.
type Core struct {
	cfg   Config
	ids   map[string]*transaction
	open  deadlines
	idle  list.List      // of *transaction without an open transaction, that idle longest first
	begun []*transaction // whose end the log has decided and not seen
	out   Output
	bytes int
}

// New makes an empty Core.
func New(cfg Config) *Core {
	return &Core{cfg: cfg.withDefaults(), ids: map[string]*transaction{}}
}

// Take returns what the steps since the last Take have produced.
func (c *Core) Take() Output {
	out := c.out
	c.out, c.bytes = Output{}, 0
	return out
}

// Pending is about how many bytes of records and markers the next Take amounts to.
func (c *Core) Pending() int { return c.bytes }

// Len is the number of transactional ids, Open that of open transactions.
func (c *Core) Len() int { return len(c.ids) }

// Open is the number of open transactions.
func (c *Core) Open() int { return len(c.open) }

// Deadline tells when Tick must be called; ok is false if nothing is waiting.
func (c *Core) Deadline() (at time.Time, ok bool) {
	if len(c.open) > 0 {
		at, ok = c.open[0].at, true
	}
	if e := c.idle.Front(); e != nil {
		if expires := c.expires(e.Value.(*transaction)); !ok || expires.Before(at) {
			at, ok = expires, true
		}
	}
	return at, ok
}

func (c *Core) expires(x *transaction) time.Time {
	return time.UnixMilli(x.updated).Add(c.cfg.IDExpiration)
}

// Tick aborts what has been open for too long and forgets ids that were idle for too long;
// when that is very much, as after a long stop, a part of it, and the Deadline is then past.
func (c *Core) Tick(now time.Time) {
	for len(c.open) > 0 && !c.open[0].at.After(now) && c.bytes < c.cfg.MaxTick {
		c.end(now, c.open[0], false, 2, ByTimeout)
	}
	for e := c.idle.Front(); e != nil && c.bytes < c.cfg.MaxTick; e = c.idle.Front() {
		x := e.Value.(*transaction)
		if c.expires(x).After(now) {
			break
		}
		c.forget(x)
	}
}

// forget removes an id that has no open transaction.
func (c *Core) forget(x *transaction) {
	c.record(x.id, nil)
	c.remove(x)
}

func (c *Core) remove(x *transaction) {
	c.disarm(x)
	delete(c.ids, x.id)
	c.cfg.Count(-1)
}

// admit makes room for one id more.
func (c *Core) admit() bool {
	if c.cfg.Count(0) < c.cfg.MaxIDs {
		return true
	}
	e := c.idle.Front()
	if e == nil {
		return false
	}
	c.forget(e.Value.(*transaction))
	return true
}

// save records x after a change.
func (c *Core) save(now time.Time, x *transaction) {
	x.updated = now.UnixMilli()
	c.arm(x)
	c.record(x.id, x.value())
}

func (c *Core) record(id string, value []byte) {
	key := keyOf(id)
	c.out.Records = append(c.out.Records, Record{key, value})
	c.bytes += len(key) + len(value)
}

// markerBytes is about what a marker takes in a log and in the journal.
const markerBytes = 160

func (c *Core) change(ch Change) {
	c.out.Changes = append(c.out.Changes, ch)
	if ch.Kind != Opened {
		c.bytes += markerBytes * len(ch.Partitions)
	}
}
