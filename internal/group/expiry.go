package group

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// checkExpiry is how long after a group became stable its offsets are looked at
// for the first time (Kafka looks at all groups every so often,
// offsets.retention.check.interval.ms).
const checkExpiry = 10 * time.Minute

// expiresAt is when an offset goes, as long as the group stays as it is: KIP-211
// counts from the moment the group became empty, and for a simple group, or one
// that is stable without the offset's topic, from the commit. A commit after the
// group became empty counts too (in Kafka it does not, and an administrator's reset
// of an old group may be gone at once).
func (c *Core) expiresAt(g *group, o *offset) time.Time {
	if o.expires >= 0 {
		return time.UnixMilli(o.expires)
	}
	from := time.UnixMilli(o.time)
	if g.state == Empty && g.since.After(from) {
		from = g.since
	}
	return from.Add(c.cfg.OffsetsRetention)
}

// expire removes what has expired: of an empty group all that is old, of one with
// members the old offsets of topics that they do not subscribe to, if the broker can
// tell. It comes back when the next offset may have expired.
func (c *Core) expire(now time.Time, g *group) {
	if !g.expires() {
		return
	}
	g.kept = false
	next, expired := c.eraseExpired(now, g, g.needed())
	if expired > 0 {
		c.noteGroup(now, g, EventOffsetsExpired, "those of "+plural(expired, "partition"))
	}
	if g.state == Empty && len(g.offsets) == 0 {
		if g.kept = len(g.unstable) > 0; !g.kept {
			c.expireGroup(now, g)
		}
		return
	}
	if !next.IsZero() {
		c.timers.set(&g.expiry, next)
	}
}

// eraseExpired returns when the next offset expires, and how many have.
func (c *Core) eraseExpired(now time.Time, g *group, needed func(topic string) bool) (next time.Time, expired int) {
	for _, topic := range slices.Sorted(maps.Keys(g.offsets)) {
		if needed(topic) {
			continue
		}
		for _, partition := range slices.Sorted(maps.Keys(g.offsets[topic])) {
			at := c.expiresAt(g, g.offsets[topic][partition])
			if !at.After(now) && g.isUnstable(topic, partition) {
				g.kept = true
			} else if !at.After(now) {
				c.erase(g, topic, partition)
				expired++
			} else if next.IsZero() || at.Before(next) {
				next = at
			}
		}
	}
	return next, expired
}

// expireGroup removes an empty group without offsets that has been so for a while.
func (c *Core) expireGroup(now time.Time, g *group) {
	next := g.since.Add(c.cfg.EmptyLinger)
	if !next.After(now) && g.persisted && len(g.pending) == 0 {
		c.eraseGroup(g)
		c.noteGroup(now, g, EventGroupDeleted, fmt.Sprintf("empty for %v, and without offsets", now.Sub(g.since)))
	}
	c.settle(g)
	if c.groups[g.id] == nil {
		return
	}
	if !next.After(now) {
		next = now.Add(c.cfg.EmptyLinger) // a member is about to come
	}
	c.timers.set(&g.expiry, next)
}

// expires tells whether a group's offsets may expire as it stands: those of a group
// without members, and where the broker knows what members want, the others.
func (g *group) expires() bool {
	return g.state == Empty || g.consumer != nil || g.state == Stable && g.usesConsumerProtocol()
}

// eraseGroup ends what the log holds of a group besides its offsets.
func (c *Core) eraseGroup(g *group) {
	if g.consumer != nil {
		c.consumerErase(g)
	} else {
		c.record(groupKey(g.id), nil)
	}
	g.persisted = false
}

// armCommitted has a group looked at when what was just committed may have expired.
// Looking too early does no harm, so the earliest of all is not searched for.
func (c *Core) armCommitted(now time.Time, g *group, expires int64) {
	if g == nil || !g.expires() {
		return
	}
	at := now.Add(c.cfg.OffsetsRetention)
	if expires >= 0 && time.UnixMilli(expires).Before(at) {
		at = time.UnixMilli(expires)
	}
	if !g.expiry.armed() || at.Before(g.expiry.at) {
		c.timers.set(&g.expiry, at)
	}
	c.settle(g)
}

// armExpiry has a group looked at that became stable, or was found so at a start.
func (c *Core) armExpiry(now time.Time, g *group) {
	if len(g.offsets) > 0 && g.expires() {
		c.timers.set(&g.expiry, now.Add(checkExpiry))
	}
}
