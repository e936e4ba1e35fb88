package group

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What members send is kept in memory for as long as they are members, which a
// client that is gone may be for half an hour. So it is counted: by group, since the
// leader is told all of it in one answer, and over all Cores. So is the metadata of
// offsets, which is kept for days.

const (
	memberBytes   = 512 // about what a member or a pending id takes besides what it sent
	protocolBytes = 64
	// MaxID is the longest id of a group or of an instance, in bytes. Both are in
	// the log again and again.
	MaxID = 1024
	// maxPrefix is how much of a client's id or instance goes into a member id.
	maxPrefix = 255
)

// protocolsBytes is about how much memory the protocols take.
func protocolsBytes(list []protocol) int64 {
	n := int64(0)
	for _, p := range list {
		n += int64(protocolBytes + len(p.name) + len(p.metadata))
	}
	return n
}

// pendingBytes is about what an id takes that was given out and not used yet.
func pendingBytes(id string) int64 { return int64(memberBytes + 2*len(id)) }

func (m *member) size() int64 {
	return int64(memberBytes+2*len(m.id)+len(text(m.instance))+len(m.client.ID)+len(m.assignment)) + protocolsBytes(m.protocols)
}

// fits tells whether a group may take n bytes more. What takes no more fits.
func (c *Core) fits(g *group, n int64) bool {
	return n <= 0 || g.held+n <= c.cfg.MaxGroupBytes && c.cfg.Memory(0)+n <= c.cfg.MaxMemory
}

func (c *Core) hold(g *group, n int64) {
	g.held += n
	c.count(n)
}

func (c *Core) count(n int64) {
	c.held += n
	c.cfg.Memory(n)
}

// holdNote counts the metadata of an offset in the place of another's: it is the part
// of an offset that clients make large.
func (c *Core) holdNote(g *group, old, o *offset) {
	n := int64(0)
	if old != nil {
		n -= int64(len(old.metadata))
	}
	if o != nil {
		n += int64(len(o.metadata))
	}
	if n != 0 {
		g.notes += n
		c.hold(g, n)
	}
}

// noteFits tells whether there is room for the metadata of one offset more.
func (c *Core) noteFits(g *group, batch *commits, topic string, p *kmsg.OffsetCommitRequestTopicPartition) bool {
	if p.Metadata == nil || *p.Metadata == "" {
		return true
	}
	n := len(*p.Metadata)
	if old := g.offsets[topic][p.Partition]; old != nil {
		n -= len(old.metadata)
	}
	return n <= 0 || c.fits(g, int64(batch.notes+n))
}

// weigh counts a member anew after it has changed.
func (c *Core) weigh(g *group, m *member) {
	c.reweigh(g, &m.held, m.size())
}

// reweigh counts n bytes in the place of those that were counted in held.
func (c *Core) reweigh(g *group, held *int64, n int64) {
	c.hold(g, n-*held)
	*held = n
}

// joinFits tells whether there is room for what a join sends, in the place of
// what the same member sent before.
func (c *Core) joinFits(g *group, j *join) bool {
	n := int64(memberBytes+2*maxPrefix+len(j.from.ID)) + protocolsBytes(j.protocols)
	old := g.byID[j.req.MemberID]
	if i := j.req.InstanceID; i != nil {
		n += int64(3 * len(*i))
		if id := g.static[*i]; id != "" {
			old = g.byID[id]
		}
	}
	if old != nil {
		n = protocolsBytes(j.protocols) - protocolsBytes(old.protocols)
	}
	return c.fits(g, n)
}

// Held is about how many bytes the members of all groups take, and what clients
// noted with offsets.
func (c *Core) Held() int64 { return c.held }

// Kind is what States counts groups by.
type Kind struct {
	State    State
	Consumer bool // of the consumer protocol (KIP-848), not the classic one
}

// States counts the groups by state and protocol.
func (c *Core) States() map[Kind]int {
	n := map[Kind]int{}
	for _, g := range c.groups {
		n[Kind{g.state, g.consumer != nil}]++
	}
	return n
}

// memberPrefix is the readable part of a new member's id. It is cut between
// characters: clients in Java would not give back half a one as it was.
func memberPrefix(s string) string {
	if len(s) > maxPrefix {
		s = strings.ToValidUTF8(s[:maxPrefix], "")
	}
	return s
}
