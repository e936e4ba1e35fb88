package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// State is where a group stands, by Kafka's own names.
type State string

// The states of a classic group. Dead is that of a group that does not exist.
const (
	Empty               State = "Empty"
	PreparingRebalance  State = "PreparingRebalance"
	CompletingRebalance State = "CompletingRebalance"
	Stable              State = "Stable"
	Dead                State = "Dead"
)

// group is one group: its offsets, and its membership.
type group struct {
	id        string
	offsets   map[string]map[int32]*offset           // by topic and partition; no empty inner map
	unstable  map[string]map[int32]map[int64]*offset // pending in transactions, by producer id besides; no empty inner map
	expiry    timer                                  // offsets, or the empty group itself, may have to go
	kept      bool                                   // what should have expired waits for a transaction to end
	persisted bool                                   // the log holds a group record, not followed by a tombstone
	held      int64                                  // bytes of memory that members, pending ids and offsets, and notes take
	notes     int64                                  // of these, the metadata of offsets

	classic
	// consumer is the membership of a group of the next protocol; nil of all others.
	// Such a group has no classic members; its state stands in classic, too.
	consumer *consumerGroup
}

// classic is the membership of a group of the classic protocol.
type classic struct {
	state        State
	since        time.Time // when the group got into Empty or Stable last; zero if unknown
	generation   int32
	protocolType string // "" until the first member
	protocol     string // chosen for this generation; "" while there is none
	leader       string // member id

	members []*member // in order of joining
	byID    map[string]*member
	static  map[string]string // instance id → member id
	support map[string]int    // protocol name → members that support it
	pending map[string]*timer // ids given out by MEMBER_ID_REQUIRED

	fromEmpty bool          // this rebalance began with an empty group: the initial delay runs
	grown     bool          // a member came during the initial delay
	delayLeft time.Duration // by how much the initial delay may still be extended
	joinTimer timer         // PreparingRebalance: the time to join is up
	syncTimer timer         // after the join: the time to sync is up
	began     time.Time     // when the group stopped being stable, or the first member came
	owned     *owned        // who owned what then; nil while the group is stable
}

// protocol is one way to assign partitions that a member supports.
type protocol struct {
	name     string
	metadata []byte
}

// parked is a request that waits for its answer.
type parked struct {
	tok     Token
	version int16
}

type member struct {
	id               string
	instance         *string // nil: dynamic
	client           Client
	rebalanceTimeout time.Duration
	sessionTimeout   time.Duration
	protocols        []protocol // the most wanted first
	assignment       []byte
	held             int64 // bytes of memory that are counted
	epoch            int32 // in the consumer group that this one was, until a generation begins; 0: none

	fresh    bool    // has joined, but has seen no generation begin
	join     *parked // waits for the generation to begin
	sync     *parked // waits for the leader's assignment
	unsynced bool    // has not asked for its assignment in this generation
	session  timer
}

// metadata is what the member sent with a protocol.
func (m *member) metadata(name string) []byte {
	for _, p := range m.protocols {
		if p.name == name {
			return p.metadata
		}
	}
	return nil
}

// matches tells whether a join says nothing new.
func (m *member) matches(protocols []protocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b protocol) bool {
		return a.name == b.name && bytes.Equal(a.metadata, b.metadata)
	})
}

// known is the generation that the member has been told of last; the group's, unless it was
// behind when a consumer group became a classic one.
func (m *member) known(generation int32) int32 {
	if m.epoch > 0 {
		return m.epoch
	}
	return generation
}

// protocolsOf copies the protocols of a request; a name counts once.
func protocolsOf(req *kmsg.JoinGroupRequest) []protocol {
	list := make([]protocol, 0, len(req.Protocols))
	seen := make(map[string]bool, len(req.Protocols))
	for _, p := range req.Protocols {
		if !seen[p.Name] {
			seen[p.Name] = true
			list = append(list, protocol{p.Name, bytes.Clone(p.Metadata)})
		}
	}
	return list
}

// add takes a member in; the first one leads until it is gone.
func (g *group) add(m *member, protocolType string) {
	if len(g.members) == 0 {
		g.protocolType = protocolType
	}
	if g.leader == "" {
		g.leader = m.id
	}
	if m.instance != nil {
		g.static[*m.instance] = m.id
	}
	g.members = append(g.members, m)
	g.byID[m.id] = m
	g.count(m, 1)
}

func (g *group) count(m *member, by int) {
	for _, p := range m.protocols {
		if g.support[p.name] += by; g.support[p.name] == 0 {
			delete(g.support, p.name)
		}
	}
}

// drop takes a member out and, if it led, lets the oldest one lead.
func (g *group) drop(m *member) {
	g.members = slices.DeleteFunc(g.members, func(x *member) bool { return x == m })
	delete(g.byID, m.id)
	g.count(m, -1)
	if m.instance != nil && g.static[*m.instance] == m.id {
		delete(g.static, *m.instance)
	}
	if g.leader == m.id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

// joined counts the members that wait for the generation to begin.
func (g *group) joined() int {
	n := 0
	for _, m := range g.members {
		if m.join != nil {
			n++
		}
	}
	return n
}

func (g *group) allJoined() bool { return len(g.pending) == 0 && g.joined() == len(g.members) }

func (g *group) allSynced() bool {
	return !slices.ContainsFunc(g.members, func(m *member) bool { return m.unsynced })
}

// rebalanceTimeout is the longest of the members'.
func (g *group) rebalanceTimeout() time.Duration {
	var longest time.Duration
	for _, m := range g.members {
		longest = max(longest, m.rebalanceTimeout)
	}
	return longest
}

// supports tells whether a member with these protocols can be in the group: it
// must share one with all members.
func (g *group) supports(req *kmsg.JoinGroupRequest) bool {
	if g.state == Empty {
		return req.ProtocolType != "" && len(req.Protocols) > 0
	}
	return g.protocolType == req.ProtocolType &&
		slices.ContainsFunc(req.Protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
			return g.support[p.Name] == len(g.members)
		})
}

// selectProtocol counts votes: each member has one, for the protocol it wants
// most among those that all support. Equal votes are decided by the leader's
// order (Kafka leaves that to the order of a hash map).
func (g *group) selectProtocol() string {
	votes := map[string]int{}
	for _, m := range g.members {
		for _, p := range m.protocols {
			if g.support[p.name] == len(g.members) {
				votes[p.name]++
				break
			}
		}
	}
	best := ""
	for _, p := range g.byID[g.leader].protocols {
		if votes[p.name] > votes[best] {
			best = p.name
		}
	}
	return best
}

// check is the rule for requests of members: the id must be known and, for a
// static member, be the one that the instance has now.
func (g *group) check(memberID string, instance *string) int16 {
	if instance == nil {
		if g.byID[memberID] == nil {
			return unknownMemberID
		}
		return none
	}
	switch id, ok := g.static[*instance]; {
	case !ok:
		return unknownMemberID
	case id != memberID:
		return fencedInstanceID
	}
	return none
}
