package group

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Describe is one group of DescribeGroups v0–6. Protocol and metadata are told only
// of a stable group: in between they do not fit one another. Assignments are those
// of the last generation that had one. A group that does not exist, or is none of the
// classic protocol, is Dead, and from v6 (KIP-1043) an error.
func (c *Core) Describe(version int16, id string) kmsg.DescribeGroupsResponseGroup {
	resp := kmsg.NewDescribeGroupsResponseGroup()
	resp.Group = id
	resp.Members = []kmsg.DescribeGroupsResponseGroupMember{}
	g := c.groups[id]
	if g == nil || g.consumer != nil {
		resp.State = string(Dead)
		if version >= 6 {
			resp.ErrorCode = groupIDNotFound
			resp.ErrorMessage = kmsg.StringPtr("Group " + id + " not found.")
			if g != nil {
				resp.ErrorMessage = kmsg.StringPtr("Group " + id + " is not a classic group.")
			}
		}
		return resp
	}
	resp.State, resp.ProtocolType = string(g.state), g.protocolType
	if g.state == Stable {
		resp.Protocol = g.protocol
	}
	for _, m := range g.members {
		rm := kmsg.NewDescribeGroupsResponseGroupMember()
		rm.MemberID, rm.InstanceID = m.id, m.instance
		rm.ClientID, rm.ClientHost = m.client.ID, m.client.Host
		rm.ProtocolMetadata, rm.MemberAssignment = []byte{}, notNil(m.assignment)
		if g.state == Stable {
			rm.ProtocolMetadata = notNil(m.metadata(g.protocol))
		}
		resp.Members = append(resp.Members, rm)
	}
	return resp
}

// A Filter is the words of a filter of ListGroups; nil lets all pass (KIP-518, KIP-848).
type Filter map[string]bool

// StateFilter makes a Filter of states. Upper and lower case are alike, blanks around a
// word do not count; no word lets all pass, and one that names no state nothing.
func StateFilter(words []string) Filter {
	return filterOf(words, func(w string) string { return strings.TrimSpace(strings.ToLower(w)) })
}

// TypeFilter makes a Filter of types in the same way, but as in Kafka a word with blanks
// around it names no type.
func TypeFilter(words []string) Filter { return filterOf(words, strings.ToLower) }

func filterOf(words []string, name func(string) string) Filter {
	if len(words) == 0 {
		return nil
	}
	f := make(Filter, len(words))
	for _, w := range words {
		f[name(w)] = true
	}
	return f
}

func (f Filter) passes(value string) bool { return f == nil || f[strings.ToLower(value)] }

// List is this shard's part of ListGroups v0–5: the groups whose state and whose type
// pass, sorted by id.
func (c *Core) List(states, types Filter) []kmsg.ListGroupsResponseGroup {
	list := []kmsg.ListGroupsResponseGroup{}
	for _, g := range c.sorted() {
		kind := "classic"
		if g.consumer != nil {
			kind = "consumer"
		}
		if !states.passes(string(g.state)) || !types.passes(kind) {
			continue
		}
		rg := kmsg.NewListGroupsResponseGroup()
		rg.Group, rg.ProtocolType = g.id, g.protocolType
		rg.GroupState, rg.GroupType = string(g.state), kind
		list = append(list, rg)
	}
	return list
}

// notNil: bytes that are not there are empty in the protocol, not null. The bytes
// themselves never change once a member has them.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// DescribeBytes is about how much memory the answer to a Describe takes until it is
// written.
func (c *Core) DescribeBytes(id string) int64 {
	n := int64(memberBytes + 3*len(id))
	if g := c.groups[id]; g != nil {
		n += 3 * (g.held - g.notes)
	}
	return n
}

// ListBytes is the same for this shard's part of ListGroups.
func (c *Core) ListBytes() int64 {
	n := int64(0)
	for id, g := range c.groups {
		n += int64(256 + 3*len(id) + 3*len(g.protocolType))
	}
	return n
}
