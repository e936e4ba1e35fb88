package txn

import (
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Describe is DescribeTransactions v0 (KIP-664) for one id.
func (c *Core) Describe(id string) kmsg.DescribeTransactionsResponseTransactionState {
	d := kmsg.NewDescribeTransactionsResponseTransactionState()
	d.TransactionalID = id
	x := c.ids[id]
	switch {
	case id == "":
		d.ErrorCode = invalidRequest
		return d
	case x == nil:
		d.ErrorCode = transactionalIDNotFound
		return d
	}
	d.State, d.TimeoutMillis, d.StartTimestamp = x.state.String(), int32(x.timeout.Milliseconds()), x.started
	d.ProducerID, d.ProducerEpoch = x.producerID, x.epoch
	for _, p := range x.list() {
		n := len(d.Topics)
		if n == 0 || d.Topics[n-1].Topic != p.Topic {
			t := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
			t.Topic = p.Topic
			d.Topics = append(d.Topics, t)
			n++
		}
		d.Topics[n-1].Partitions = append(d.Topics[n-1].Partitions, p.Number)
	}
	return d
}

// DescribeBytes is about how many bytes the answer of Describe takes.
func (c *Core) DescribeBytes(id string) int64 {
	if x := c.ids[id]; x != nil {
		return int64(x.size()) + 256
	}
	return 256
}

// Filter chooses transactional ids. What is zero (Duration: negative) chooses all.
type Filter struct {
	States      map[State]bool
	ProducerIDs map[int64]bool
	Duration    time.Duration  // only what began longer ago
	Pattern     *regexp.Regexp // of the whole id
}

func (f *Filter) match(now time.Time, x *transaction) bool {
	switch {
	case f.States != nil && !f.States[x.state]:
		return false
	case f.ProducerIDs != nil && !f.ProducerIDs[x.producerID]:
		return false
	case f.Duration >= 0 && now.UnixMilli()-x.started <= f.Duration.Milliseconds():
		return false
	case f.Pattern != nil && !f.Pattern.MatchString(x.id):
		return false
	}
	return true
}

// List is ListTransactions v0-2 (KIP-664, 994, 1152), sorted by id.
func (c *Core) List(now time.Time, f *Filter) []kmsg.ListTransactionsResponseTransactionState {
	var all []kmsg.ListTransactionsResponseTransactionState
	for _, id := range slices.Sorted(maps.Keys(c.ids)) {
		x := c.ids[id]
		if !f.match(now, x) {
			continue
		}
		s := kmsg.NewListTransactionsResponseTransactionState()
		s.TransactionalID, s.ProducerID, s.TransactionState = id, x.producerID, x.state.String()
		all = append(all, s)
	}
	return all
}

// ListBytes is about how many bytes the answer of List takes, at most.
func (c *Core) ListBytes() int64 {
	n := int64(0)
	for id := range c.ids {
		n += int64(128 + 2*len(id))
	}
	return n
}
