package group

import (
	"iter"
	"maps"
	"slices"
	"time"
)

// After a replay an expression stands for the topics that the log tells. A broker that was
// killed may have made a topic of which it had not told the Core yet, so all names have to
// be matched again. With thousands of expressions and of topics that takes many seconds.
// Groups do not wait for it: who owns the Core takes the list of Unresolved, has each
// matched beside the Core's turns, and hands in what came out.

// Unresolved are the expressions, in order, that stand for what the log told when it was
// replayed.
func (c *Core) Unresolved() []string { return slices.Sorted(maps.Keys(c.unresolved)) }

// Match is NewExpression for one that was let in before: it is not refused because there
// are more topics now, however long it takes.
func Match(s string, names iter.Seq[string]) *Expression {
	r, err := compileRegex(s)
	if err != nil {
		return &Expression{err: err}
	}
	r.topics = r.match(names)
	return &Expression{regex: r}
}

// Resolve has all groups that have an unresolved expression go by what x, up to date with
// the Cluster that was set last, stands for.
func (c *Core) Resolve(now time.Time, s string, x *Expression) {
	groups := c.unresolved[s]
	delete(c.unresolved, s)
	if x.regex == nil {
		return
	}
	for _, g := range groups {
		if c.groups[g.id] != g || g.consumer == nil || g.consumer.regexes[s] == nil {
			continue // nobody subscribes to it any more
		}
		found := g.consumer.regexes[s]
		c.refresh(now, g, func(r *regex) bool { return r == found && r.become(x.regex.topics) })
	}
}

// become has the expression stand for these topics, and tells whether they are others than
// before. The list is shared: nobody changes one.
func (r *regex) become(topics []string) bool {
	if slices.Equal(r.topics, topics) {
		return false
	}
	r.topics = topics
	return true
}
