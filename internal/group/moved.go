package group

import "encoding/binary"

// maxReadable is how many bytes of assignments of a group are looked into, to
// count the partitions that move: some 60,000 partitions, which takes milliseconds.
const maxReadable = 256 << 10

// owned is what the members of a generation had, kept through the rebalance that
// followed it.
type owned struct {
	list   []share
	bytes  int64 // counted as memory of the group
	opaque bool  // cannot be read, or is too much
}

type share struct {
	owner      string
	assignment []byte
}

// owner names a member for the count of what moves: the next process of a static
// member has what the last one had.
func (m *member) owner() string {
	if m.instance != nil {
		return "instance " + *m.instance
	}
	return "member " + m.id
}

// keepOwned remembers who owns what before the group stops being stable.
func (c *Core) keepOwned(g *group) {
	if g.state != Stable || g.owned != nil {
		return
	}
	o := &owned{opaque: !g.usesConsumerProtocol()}
	for _, m := range g.members {
		o.list = append(o.list, share{m.owner(), m.assignment})
		o.bytes += int64(len(m.assignment))
	}
	if o.opaque || o.bytes > maxReadable || !c.fits(g, o.bytes) {
		o = &owned{opaque: true}
	}
	c.hold(g, o.bytes)
	g.owned = o
}

// moved counts the partitions that were taken from who had them before this
// rebalance, -1 if that cannot be told, and forgets what was before.
func (c *Core) moved(g *group) int {
	before := g.owned
	c.forgetOwned(g)
	if before == nil || len(before.list) == 0 && !before.opaque {
		return 0
	}
	now, size := make([]share, 0, len(g.members)), 0
	for _, m := range g.members {
		now = append(now, share{m.owner(), m.assignment})
		size += len(m.assignment)
	}
	if before.opaque || size > maxReadable {
		return -1
	}
	had, ok := ownersOf(before.list)
	has, ok2 := ownersOf(now)
	if !ok || !ok2 {
		return -1
	}
	n := 0
	for p, owner := range had {
		if has[p] != owner {
			n++
		}
	}
	return n
}

func (c *Core) forgetOwned(g *group) {
	if g.owned != nil {
		c.hold(g, -g.owned.bytes)
		g.owned = nil
	}
}

// ownersOf reads assignments; false if one of them is none of a consumer.
func ownersOf(list []share) (map[place]string, bool) {
	owners := map[place]string{}
	for _, s := range list {
		if len(s.assignment) == 0 {
			continue
		}
		r := readTopics(s.assignment)
		for name, ok := r.topic(); ok; name, ok = r.topic() {
			topic := string(name)
			for b := r.partitions(); len(b) >= 4; b = b[4:] {
				owners[place{topic, int32(binary.BigEndian.Uint32(b))}] = s.owner
			}
		}
		if r.err != nil {
			return nil, false
		}
	}
	return owners, true
}
