package txn

import (
	"container/heap"
	"container/list"
	"math"
	"slices"
	"strings"
	"time"
)

// State is a state of a transactional id, by Kafka's numbers in the log.
type State int8

// The states.
const (
	Empty State = iota
	Ongoing
	PrepareCommit
	PrepareAbort
	CompleteCommit
	CompleteAbort
	Dead
	PrepareEpochFence
)

// States are all states, in the order of their numbers.
func States() []State {
	return []State{Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort, Dead, PrepareEpochFence}
}

// String is the name that clients are told and filter by.
func (s State) String() string {
	switch s {
	case Empty:
		return "Empty"
	case Ongoing:
		return "Ongoing"
	case PrepareCommit:
		return "PrepareCommit"
	case PrepareAbort:
		return "PrepareAbort"
	case CompleteCommit:
		return "CompleteCommit"
	case CompleteAbort:
		return "CompleteAbort"
	case Dead:
		return "Dead"
	}
	return "PrepareEpochFence"
}

// Partition is a partition in a transaction.
type Partition struct {
	Topic  string
	ID     [16]byte // of the topic; zero: there was none of this name when the log was read
	Number int32
}

// place is a partition by its names.
type place struct {
	topic  string
	number int32
}

// lastEpoch is the greatest epoch that a client gets.
const lastEpoch = math.MaxInt16 - 1

// transaction is what is known of a transactional id.
type transaction struct {
	id         string
	producerID int64
	previousID int64 // producer id before the last end, if that replaced it; -1
	epoch      int16
	lastEpoch  int16 // the one before, if a request with it is the last one again; -1
	timeout    time.Duration
	state      State
	partitions map[place][16]byte // with the topic's id
	started    int64              // ms; -1: no transaction since InitProducerId
	updated    int64              // ms
	version    int16              // of the client's protocol, 0 to 2
	nextID     int64              // in the log of another broker: the producer id after the end; -1

	at   time.Time // deadline of an open transaction
	pos  int       // in deadlines, plus one; 0: not there
	idle *list.Element
}

// list are the partitions in order.
func (x *transaction) list() []Partition {
	all := make([]Partition, 0, len(x.partitions))
	for p, id := range x.partitions {
		all = append(all, Partition{p.topic, id, p.number})
	}
	slices.SortFunc(all, func(p, q Partition) int { return place{p.Topic, p.Number}.compare(place{q.Topic, q.Number}) })
	return all
}

func (p place) compare(q place) int {
	if n := strings.Compare(p.topic, q.topic); n != 0 {
		return n
	}
	return int(p.number) - int(q.number)
}

// has tells whether all partitions are in the transaction.
func (x *transaction) has(parts []Partition) bool {
	for _, p := range parts {
		if id, ok := x.partitions[place{p.Topic, p.Number}]; !ok || id != p.ID {
			return false
		}
	}
	return true
}

// deadlines are the open transactions, the one that is due first at the top.
type deadlines []*transaction

// Len, Less, Swap, Push and Pop are heap.Interface's.
func (h deadlines) Len() int { return len(h) }

func (h deadlines) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].id < h[j].id
}

func (h deadlines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i+1, j+1
}

// Push adds x, a *transaction.
func (h *deadlines) Push(x any) {
	t := x.(*transaction)
	*h = append(*h, t)
	t.pos = len(*h)
}

// Pop removes the last one.
func (h *deadlines) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h, t.pos = old[:len(old)-1], 0
	return t
}

// arm puts x where its state belongs: to the open ones, by its deadline, or behind all that
// are idle.
func (c *Core) arm(x *transaction) {
	c.disarm(x)
	if x.state == Ongoing {
		x.at = time.UnixMilli(x.started).Add(x.timeout)
		heap.Push(&c.open, x)
		return
	}
	x.idle = c.idle.PushBack(x)
}

func (c *Core) disarm(x *transaction) {
	if x.pos > 0 {
		heap.Remove(&c.open, x.pos-1)
	}
	if x.idle != nil {
		c.idle.Remove(x.idle)
		x.idle = nil
	}
}
