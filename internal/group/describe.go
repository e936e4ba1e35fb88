package group

import (
	"slices"
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

// List is this shard's part of ListGroups v0–5, unfiltered, sorted by group id.
func (c *Core) List() []kmsg.ListGroupsResponseGroup { return c.ListGroups(nil, nil) }

// ListGroups is this shard's part of ListGroups v0–5: the groups whose state and
// whose type is among those given, sorted by id. Upper and lower case are alike, no
// word lets all pass, and a word that names no state or type nothing (KIP-518,
// KIP-848).
func (c *Core) ListGroups(states, types []string) []kmsg.ListGroupsResponseGroup {
	list := []kmsg.ListGroupsResponseGroup{}
	for _, g := range c.sorted() {
		kind := "classic"
		if g.consumer != nil {
			kind = "consumer"
		}
		if !among(states, string(g.state)) || !among(types, kind) {
			continue
		}
		rg := kmsg.NewListGroupsResponseGroup()
		rg.Group, rg.ProtocolType = g.id, g.protocolType
		rg.GroupState, rg.GroupType = string(g.state), kind
		list = append(list, rg)
	}
	return list
}

func among(words []string, value string) bool {
	return len(words) == 0 || slices.ContainsFunc(words, func(w string) bool {
		return strings.EqualFold(strings.TrimSpace(w), value)
	})
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
