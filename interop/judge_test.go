//go:build unix

package interop

import (
	"fmt"
	"slices"
	"strconv"
)

// judge looks at all that happened in a group, in the order of time, and says
// what must not have happened:
//
//  1. A partition that two members have at once: from assigned to revoked, lost,
//     left or killed.
//  2. A record of a partition that its reader does not have, or that does not
//     follow on the one before since the partition was assigned.
//  3. A record that is not the one the producer sent at that offset: it numbers
//     those of each partition from 0.
//  4. A commit that moves back, or beyond a record that nobody has read.
//  5. Of the acknowledged records (how many by partition), one that nobody read.
func judge(entries []entry, acknowledged map[int32]int64) []string {
	c := court{
		owner: map[int32]string{}, next: map[int32]int64{}, inRow: map[int32]int64{},
		seen: map[int32]map[int64]bool{}, committed: map[int32]int64{},
	}
	for _, e := range entries {
		c.hear(e)
	}
	for p, n := range acknowledged {
		if c.inRow[p] < n {
			c.complain("partition %d: record %d of %d was read by nobody", p, c.inRow[p], n)
		}
	}
	return c.complaints
}

type court struct {
	complaints []string
	owner      map[int32]string
	next       map[int32]int64          // offset that the owner must read next, once it has read
	inRow      map[int32]int64          // the first offset that nobody has read
	seen       map[int32]map[int64]bool // read beyond that
	committed  map[int32]int64
}

func (c *court) complain(format string, args ...any) {
	c.complaints = append(c.complaints, fmt.Sprintf(format, args...))
}

func (c *court) hear(e entry) {
	switch e.Event {
	case "assigned":
		for _, p := range e.Partitions {
			if has, ok := c.owner[p]; ok {
				c.complain("partition %d: assigned to %s while %s has it", p, e.member, has)
			}
			c.owner[p] = e.member
			delete(c.next, p)
		}
	case "revoked", "lost":
		for _, p := range e.Partitions {
			if c.owner[p] != e.member {
				c.complain("partition %d: %s from %s, but %q has it", p, e.Event, e.member, c.owner[p])
			}
			delete(c.owner, p)
		}
	case "left", killed:
		for p, has := range c.owner {
			if has == e.member {
				delete(c.owner, p)
			}
		}
	case "record":
		c.record(e)
	case "committed":
		c.commit(e)
	}
}

func (c *court) record(e entry) {
	p := e.Partition
	if c.owner[p] != e.member {
		c.complain("partition %d: %s reads offset %d, but %q has it", p, e.member, e.Offset, c.owner[p])
	}
	if next, ok := c.next[p]; ok && next != e.Offset {
		c.complain("partition %d: %s reads offset %d, not %d", p, e.member, e.Offset, next)
	}
	if e.Value != strconv.FormatInt(e.Offset, 10) {
		c.complain("partition %d: %s reads %q at offset %d", p, e.member, e.Value, e.Offset)
	}
	c.next[p] = e.Offset + 1
	if c.seen[p] == nil {
		c.seen[p] = map[int64]bool{}
	}
	c.seen[p][e.Offset] = true
	for c.seen[p][c.inRow[p]] {
		c.inRow[p]++
	}
}

func (c *court) commit(e entry) {
	for p, offset := range e.Offsets {
		if offset < c.committed[p] {
			c.complain("partition %d: %s commits %d after %d", p, e.member, offset, c.committed[p])
		}
		if offset > c.inRow[p] {
			c.complain("partition %d: %s commits %d, but %d was read by nobody", p, e.member, offset, c.inRow[p])
		}
		c.committed[p] = offset
	}
}

// disturbed says what a member had to let go since some moment of the partitions
// that it has now: what a rebalance must not do to partitions that stay where
// they are. What its process before let go when it left does not count.
func disturbed(since []entry, has []int32) (complaints []string) {
	for _, e := range since {
		if e.Event == "left" {
			complaints = nil
			continue
		}
		for _, p := range e.Partitions {
			if slices.Contains(has, p) {
				complaints = append(complaints, fmt.Sprintf("partition %d was %s from %s, which has it again", p, e.Event, e.member))
			}
		}
	}
	return complaints
}
