package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// CrashOptions says what kind of crash a CrashClone is.
type CrashOptions struct {
	// KeepUnsynced keeps everything that was written: a process was killed,
	// and the operating system lives on. What was not synced stays so in the
	// clone, which can lose it in a power cut of its own.
	KeepUnsynced bool
}

// entry is a name in a directory.
type entry struct {
	dir  *node
	name string
}

// change is one atomic change of names that the disk does not have yet: to now
// leads to node, or nowhere if node is nil; from, if set, leads nowhere.
type change struct {
	to   entry
	from entry
	node *node
}

func (c change) apply() {
	if c.from.dir != nil {
		delete(c.from.dir.durable, c.from.name)
	}
	if c.node == nil {
		delete(c.to.dir.durable, c.to.name)
		return
	}
	c.to.dir.durable[c.to.name] = c.node
}

// syncEntries makes the pending changes of the chosen names durable, with all
// earlier ones that these build on.
func (m *Mem) syncEntries(chosen func(entry) bool) {
	needed := map[entry]bool{}
	take := make([]bool, len(m.pending))
	for i, c := range slices.Backward(m.pending) {
		renames := c.from.dir != nil
		if chosen(c.to) || needed[c.to] || renames && (chosen(c.from) || needed[c.from]) {
			take[i] = true
			needed[c.to] = true
			if renames {
				needed[c.from] = true
			}
		}
	}
	rest := m.pending[:0]
	for i, c := range m.pending {
		if take[i] {
			c.apply()
		} else {
			rest = append(rest, c)
		}
	}
	clear(m.pending[len(rest):])
	m.pending = rest
}

// CrashClone returns what a crash at this moment would leave, and changes
// nothing in m. Nothing is open or locked in the clone. The same state and the
// same random numbers give the same clone. Pages are shared until one side
// writes to them, so a clone costs little more than its names.
//
// A power cut, the default, keeps what was synced and decides for everything
// else at random; the package comment has the rules.
func (m *Mem) CrashClone(rng *rand.Rand, opts CrashOptions) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := cloner{nodes: map[*node]*node{}}
	to := &Mem{root: c.clone(m.root), capacity: m.capacity}
	for _, p := range m.pending {
		p.to.dir, p.from.dir, p.node = c.clone(p.to.dir), c.clone(p.from.dir), c.clone(p.node)
		to.pending = append(to.pending, p)
	}
	if !opts.KeepUnsynced {
		to.writeBack(rng)
		to.powerCut()
	}
	to.root.walk(func(n *node) { to.used += n.data.reserved.count() * pageSize })
	return to
}

// WriteBack makes a random part of what is not synced durable, as an operating
// system does in its own time. A crash test that calls it now and then also
// meets older versions of a sector that was written again.
func (m *Mem) WriteBack(rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writeBack(rng)
}

func (m *Mem) writeBack(rng *rand.Rand) {
	blocked := map[entry]bool{}
	rest := m.pending[:0]
	for _, c := range m.pending {
		renames := c.from.dir != nil
		if blocked[c.to] || renames && blocked[c.from] || rng.IntN(2) == 0 {
			blocked[c.to] = true
			if renames {
				blocked[c.from] = true
			}
			rest = append(rest, c)
			continue
		}
		c.apply()
	}
	clear(m.pending[len(rest):])
	m.pending = rest
	m.root.writeBack(rng, map[*node]bool{})
}

// writeBack visits what is below a node both on disk and in memory, in the
// order of names, so that a seed decides the same thing each time.
func (n *node) writeBack(rng *rand.Rand, seen map[*node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	if !n.dir {
		n.data.writeBack(rng)
		return
	}
	for _, names := range []map[string]*node{n.entries, n.durable} {
		for _, name := range slices.Sorted(maps.Keys(names)) {
			names[name].writeBack(rng, seen)
		}
	}
}

// writeBack moves random dirty sectors to the disk, and perhaps the length.
func (c *content) writeBack(rng *rand.Rand) {
	if c.synced != c.size || c.lowest != c.highest {
		switch rng.IntN(4) {
		case 0: // the length on disk stays
		case 1:
			c.setSynced(c.lowest + rng.Int64N(c.highest-c.lowest+1))
		default:
			c.setSynced(c.size)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(c.dirty)) {
		kept := c.dirty[i] & uint8(rng.Uint32())
		if kept == 0 {
			continue
		}
		live := c.live.get(i)
		if kept == c.dirty[i] {
			delete(c.dirty, i)
		} else {
			c.dirty[i] &^= kept
		}
		disk := c.disk.writable(i)
		for s := range pageSize / sectorSize {
			if kept&(1<<s) == 0 {
				continue
			}
			dst := disk.bytes[s*sectorSize : (s+1)*sectorSize]
			if live == nil {
				clear(dst)
			} else {
				copy(dst, live.bytes[s*sectorSize:])
			}
		}
	}
}

// powerCut forgets all that the disk does not have.
func (m *Mem) powerCut() {
	m.pending = nil
	m.root.powerCut()
}

func (n *node) powerCut() {
	n.linked = true
	if n.dir {
		n.entries = maps.Clone(n.durable)
		for _, child := range n.entries {
			child.powerCut()
		}
		return
	}
	c := &n.data
	c.disk.cut(c.synced)
	c.live, c.size, c.dirty = c.disk.clone(), c.synced, nil
	c.setSynced(c.size)
	c.reserved.cut(pagesOf(c.size))
	if c.reserved.missing(0, pagesOf(c.size)) == 0 {
		return
	}
	for _, i := range c.disk.numbers(0) {
		if c.reserved.missing(i, i+1) > 0 {
			c.reserved.add(i, i+1)
		}
	}
}

// cloner copies a graph of nodes; nodes remembers what was copied already,
// because names in memory and on disk lead to the same node.
type cloner struct {
	nodes map[*node]*node
}

func (c *cloner) clone(n *node) *node {
	if n == nil || c.nodes[n] != nil {
		return c.nodes[n]
	}
	out := &node{dir: n.dir, linked: n.linked}
	c.nodes[n] = out
	if n.dir {
		out.entries = c.cloneNames(n.entries)
		out.durable = c.cloneNames(n.durable)
		return out
	}
	out.data = n.data
	out.data.live = n.data.live.clone()
	out.data.disk = n.data.disk.clone()
	out.data.dirty = maps.Clone(n.data.dirty)
	out.data.reserved = slices.Clone(n.data.reserved)
	return out
}

func (c *cloner) cloneNames(names map[string]*node) map[string]*node {
	out := make(map[string]*node, len(names))
	for name, n := range names {
		out[name] = c.clone(n)
	}
	return out
}
