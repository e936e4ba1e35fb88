package vfs

import (
	"io"
	"maps"
	"slices"
)

const (
	pageSize   = 4096
	sectorSize = 512
	chunkPages = 64
)

// page is immutable for everybody but the table whose token it carries.
type page struct {
	owner *token
	bytes [pageSize]byte
}

// chunk is a run of pages; nil pages read as zero. Same ownership.
type chunk struct {
	owner *token
	pages [chunkPages]*page
}

// token tells owners apart; it must not be of size zero, or all would have the
// same address.
type token struct{ _ byte }

// table maps page numbers to pages. A copy shares all pages: both sides take a
// new token, so that each copies a page before it writes to it.
type table struct {
	owner  *token
	chunks map[int64]*chunk
}

func (t *table) get(i int64) *page {
	if c := t.chunks[i/chunkPages]; c != nil {
		return c.pages[i%chunkPages]
	}
	return nil
}

// put stores a page, shared or nil.
func (t *table) put(i int64, p *page) {
	c := t.chunks[i/chunkPages]
	if c == nil && p == nil {
		return
	}
	if t.owner == nil {
		t.owner = new(token)
	}
	if c == nil || c.owner != t.owner {
		own := &chunk{owner: t.owner}
		if c != nil {
			own.pages = c.pages
		}
		if t.chunks == nil {
			t.chunks = map[int64]*chunk{}
		}
		t.chunks[i/chunkPages] = own
		c = own
	}
	c.pages[i%chunkPages] = p
}

// writable returns a page that the caller may change.
func (t *table) writable(i int64) *page {
	p := t.get(i)
	if p != nil && p.owner == t.owner {
		return p
	}
	if t.owner == nil {
		t.owner = new(token)
	}
	own := &page{owner: t.owner}
	if p != nil {
		own.bytes = p.bytes
	}
	t.put(i, own)
	return own
}

// share gives up the right to write to the pages in place.
func (t *table) share() { t.owner = nil }

func (t *table) clone() table {
	t.share()
	return table{chunks: maps.Clone(t.chunks)}
}

// cut forgets all that lies at or beyond size.
func (t *table) cut(size int64) {
	first := pagesOf(size)
	for i, c := range t.chunks {
		if i*chunkPages >= first {
			delete(t.chunks, i)
			continue
		}
		for j, p := range c.pages {
			if p != nil && i*chunkPages+int64(j) >= first {
				t.put(i*chunkPages+int64(j), nil)
			}
		}
	}
	if rest := size % pageSize; rest != 0 && t.get(size/pageSize) != nil {
		clear(t.writable(size / pageSize).bytes[rest:])
	}
}

// numbers returns the page numbers at or above from that hold a page, sorted.
func (t *table) numbers(from int64) []int64 {
	var out []int64
	for i, c := range t.chunks {
		for j, p := range c.pages {
			if n := i*chunkPages + int64(j); p != nil && n >= from {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out
}

func pagesOf(size int64) int64 { return (size + pageSize - 1) / pageSize }

// content is what a file holds, once as programs see it and once as the disk
// has it. Bytes beyond size are zero in live.
type content struct {
	live    table
	size    int64
	disk    table
	synced  int64 // length on disk
	lowest  int64 // smallest length since the last sync
	highest int64 // greatest length since the last sync
	// dirty has, for each page, one bit for each sector in which live may
	// differ from disk.
	dirty    map[int64]uint8
	reserved extents
}

func (c *content) readAt(p []byte, off int64) (int, error) {
	n := int(max(0, min(int64(len(p)), c.size-off)))
	for done := 0; done < n; {
		at := off + int64(done)
		dst := p[done:n]
		dst = dst[:min(int64(len(dst)), pageSize-at%pageSize)]
		if pg := c.live.get(at / pageSize); pg != nil {
			copy(dst, pg.bytes[at%pageSize:])
		} else {
			clear(dst)
		}
		done += len(dst)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// writePage writes up to the end of one page and returns how much that was.
func (c *content) writePage(p []byte, off int64) int {
	i, start := off/pageSize, off%pageSize
	n := copy(c.live.writable(i).bytes[start:], p)
	c.mark(i, start, start+int64(n))
	c.resize(max(c.size, off+int64(n)))
	return n
}

// mark makes the sectors that hold bytes [from, to) of page i dirty.
func (c *content) mark(i, from, to int64) {
	if c.dirty == nil {
		c.dirty = map[int64]uint8{}
	}
	for s := from / sectorSize; s*sectorSize < to; s++ {
		c.dirty[i] |= 1 << s
	}
}

func (c *content) resize(size int64) {
	c.size = size
	c.lowest = min(c.lowest, size)
	c.highest = max(c.highest, size)
}

func (c *content) truncate(size int64) {
	if size < c.size {
		// A page that only the disk holds is zero or dirty already.
		for _, i := range c.live.numbers(size / pageSize) {
			c.mark(i, max(0, size-i*pageSize), pageSize)
		}
		c.live.cut(size)
	}
	c.resize(size)
}

// sync makes the disk hold what programs see.
func (c *content) sync() {
	for i := range c.dirty {
		c.disk.put(i, c.live.get(i))
	}
	c.dirty = nil
	c.live.share()
	c.disk.share()
	c.setSynced(c.size)
}

func (c *content) setSynced(size int64) {
	c.synced = size
	c.lowest, c.highest = min(size, c.size), max(size, c.size)
}
