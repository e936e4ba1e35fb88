package group

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Config holds what a Core needs of its surroundings. All but NewMemberID may be
// zero; the values in brackets are then used, which are Kafka's defaults except
// for InitialRebalanceDelay (Kafka waits 3 s) and MaxSize (Kafka has no limit).
type Config struct {
	NewMemberID           func(prefix string) string // makes a unique id that begins with prefix and '-'
	InitialRebalanceDelay time.Duration              // [0] how long a new group waits for more members
	MinSessionTimeout     time.Duration              // [6 s]
	MaxSessionTimeout     time.Duration              // [30 min]
	MaxSize               int                        // [1,000] members, and as many pending ones, of a group
	MaxOffsetMetadata     int                        // [4,096] bytes of metadata with an offset
	MaxRecord             int                        // [32 MiB] bytes of a group's record, or of the records of one commit
	MaxGroupBytes         int64                      // [32 MiB] of what the members of a group sent
	MaxMemory             int64                      // [256 MiB] of what all members of all Cores sent
	OffsetsRetention      time.Duration              // [7 days] after a group became empty
	EmptyLinger           time.Duration              // [10 min] an empty group without offsets is still listed
	Consumer              ConsumerConfig             // of consumer groups (KIP-848)
	// Memory counts n bytes more (or fewer) and returns the sum over all Cores that
	// share MaxMemory. Nil: this Core is alone.
	Memory func(n int64) int64
	// Noted is told of every event that a timeline gets, for who counts them. Nil: nobody.
	Noted func(kind EventKind)
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&c.MinSessionTimeout, 6*time.Second)
	def(&c.MaxSessionTimeout, 30*time.Minute)
	def(&c.OffsetsRetention, 7*24*time.Hour)
	def(&c.EmptyLinger, 10*time.Minute)
	num(&c.MaxSize, 1000)
	num(&c.MaxOffsetMetadata, 4096)
	c.MaxOffsetMetadata = min(c.MaxOffsetMetadata, maxString)
	num(&c.MaxRecord, 32<<20)
	if c.MaxGroupBytes == 0 {
		c.MaxGroupBytes = 32 << 20
	}
	if c.MaxMemory == 0 {
		c.MaxMemory = 256 << 20
	}
	c.Consumer = c.Consumer.withDefaults()
	if c.Memory == nil {
		sum := int64(0)
		c.Memory = func(n int64) int64 { sum += n; return sum }
	}
	return c
}

// Token names a request that is answered through Take. The caller chooses it.
type Token uint64

// Client is who sent a request.
type Client struct {
	ID   string
	Host string // as Kafka prints it: "/127.0.0.1"
}

// Reply is the answer to a parked request.
type Reply struct {
	Token    Token
	Response kmsg.Response // a *kmsg.JoinGroupResponse or *kmsg.SyncGroupResponse
}

// Record is one record for the partition of __consumer_offsets.
type Record struct {
	Key   []byte
	Value []byte // nil: a tombstone
	// Txn is who appends it in a transaction; nil: it is part of none. A batch has
	// records of one producer only.
	Txn *Producer
}

// Output is what piled up since the last Take. The records come first: no
// answer may leave before they are durable.
type Output struct {
	Replies []Reply
	Records []Record
}

// Core holds the groups of one partition of __consumer_offsets.
type Core struct {
	cfg     Config
	cluster Cluster
	groups  map[string]*group
	txns    map[int64]*transaction // open, by producer id
	order   int64                  // of the newest offset, see offset.order
	timers  timers
	out     Output
	bytes   int   // of the records in out
	held    int64 // bytes of memory that members take
	full    bool
	history history

	consumers  int                 // members of all consumer groups
	unresolved map[string][]*group // by expression, those that have it as the log told
}

// New makes an empty Core.
func New(cfg Config) *Core {
	return &Core{cfg: cfg.withDefaults(), cluster: noCluster{}, groups: map[string]*group{}, txns: map[int64]*transaction{},
		unresolved: map[string][]*group{}}
}

// Take returns what the steps since the last Take have produced.
func (c *Core) Take() Output {
	out := c.out
	c.out, c.bytes = Output{}, 0
	return out
}

// Pending is how many bytes of records the next Take returns.
func (c *Core) Pending() int { return c.bytes }

// Deadline tells when Tick must be called; ok is false if nothing is waiting.
func (c *Core) Deadline() (at time.Time, ok bool) {
	t := c.timers.next()
	if t == nil {
		return time.Time{}, false
	}
	return t.at, true
}

// tickBytes is how many bytes of records a Tick makes before it leaves the rest to
// the next one: many groups may expire at the same moment, after a long stop for
// instance, and one append must not hold them all.
const tickBytes = 1 << 20

// Tick does what is due at now; when that is very much, a part of it, and the
// Deadline is then past. Nothing that is done re-arms a timer for now or earlier,
// so the loop ends.
func (c *Core) Tick(now time.Time) {
	for t := c.timers.next(); t != nil && !t.at.After(now) && c.bytes < tickBytes; t = c.timers.next() {
		c.timers.stop(t)
		t.fire(now)
	}
}

// Len is the number of groups.
func (c *Core) Len() int { return len(c.groups) }

// SetFull says whether new groups are refused, because the broker holds as many
// as it may.
func (c *Core) SetFull(full bool) { c.full = full }

func (c *Core) reply(tok Token, resp kmsg.Response) {
	c.out.Replies = append(c.out.Replies, Reply{tok, resp})
}

func (c *Core) record(key, value []byte) { c.recordTxn(nil, key, value) }

func (c *Core) recordTxn(p *Producer, key, value []byte) {
	c.out.Records = append(c.out.Records, Record{key, value, p})
	c.bytes += len(key) + len(value)
}

// lookup finds or makes a group.
func (c *Core) lookup(id string) *group {
	g := c.groups[id]
	if g == nil {
		g = &group{id: id, offsets: map[string]map[int32]*offset{}, unstable: map[string]map[int32]map[int64]*offset{}}
		g.state = Empty
		g.byID, g.static = map[string]*member{}, map[string]string{}
		g.support, g.pending = map[string]int{}, map[string]*timer{}
		g.expiry.fire = func(now time.Time) { c.expire(now, g) }
		g.joinTimer.fire = func(now time.Time) { c.joinTimeout(now, g) }
		g.syncTimer.fire = func(now time.Time) { c.syncTimeout(now, g) }
		c.groups[id] = g
	}
	return g
}

// settle forgets a group that holds nothing and of which the log knows nothing.
func (c *Core) settle(g *group) {
	if g.state == Empty && !g.persisted && len(g.offsets) == 0 && len(g.unstable) == 0 && len(g.pending) == 0 {
		c.timers.stop(&g.expiry)
		delete(c.groups, g.id)
		c.groupGone(g.id)
	}
}

// sorted are the groups by id, where the order is seen from outside.
func (c *Core) sorted() []*group {
	all := make([]*group, 0, len(c.groups))
	for _, id := range slices.Sorted(maps.Keys(c.groups)) {
		all = append(all, c.groups[id])
	}
	return all
}
