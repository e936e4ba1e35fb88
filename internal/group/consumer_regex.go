package group

import (
	"fmt"
	"hash/fnv"
	"iter"
	"regexp"
	"regexp/syntax"
	"slices"
)

// A regular expression of a subscription is matched with the name of every topic. RE2's
// time is linear in both, up to 10 ns for each instruction and byte. All names at once
// take the time of whoever asks (an Expression), a topic that comes that of the Core. So
// what the expressions of all groups together cost is bounded, too: an instruction is
// counted as more memory than it takes.
const (
	maxRegex     = 2048      // bytes
	maxRegexCost = 2048      // instructions of its program, about
	maxMatch     = 100 << 20 // instructions times bytes of names

	regexBytes       = 512
	instructionBytes = 512 // of 64 to 128
	nameBytes        = 24  // of a topic in a list and in the set of what a group subscribes to
)

// regex is a regular expression to which members subscribe, and what it stands for.
type regex struct {
	topics  []string // that it matches, sorted
	since   int64    // ms, when it was resolved
	pattern *regexp.Regexp
	cost    int   // instructions of the pattern, about
	program int64 // bytes of memory that the pattern counts as
	held    int64 // bytes of memory that are counted
}

// compileRegex reads a subscription. It matches whole names, as Kafka has it.
func compileRegex(s string) (*regex, error) {
	if len(s) > maxRegex {
		return nil, fmt.Errorf("longer than %d bytes", maxRegex)
	}
	tree, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return nil, err
	}
	cost := regexCost(tree)
	if cost > maxRegexCost {
		return nil, fmt.Errorf("too many repetitions")
	}
	pattern, err := regexp.Compile(`\A(?:` + s + `)\z`)
	if err != nil {
		return nil, err
	}
	return &regex{pattern: pattern, cost: cost, program: int64(regexBytes + 3*len(s) + instructionBytes*cost)}, nil
}

// An Expression is the regular expression of a subscription, matched with all topics. That
// may take a second, so it is done before the Core's turn, by who has the request.
type Expression struct {
	regex *regex // nil: it is none
	err   error
}

// NewExpression reads an expression that is not empty, and matches it with the topics
// that there are. What is wrong with it the Core tells in its answer.
func NewExpression(s string, cl Cluster) *Expression {
	r, err := compileRegex(s)
	if err == nil {
		err = r.matchAll(cl.TopicNames())
	}
	if err != nil {
		return &Expression{err: err}
	}
	return &Expression{regex: r}
}

// Follow brings the expression up to date with a Cluster, in which these topics are not
// as in the one before.
func (x *Expression) Follow(cl Cluster, changed []string) {
	if x.regex != nil {
		x.regex.follow(cl, changed)
	}
}

// Bytes is about how much memory the expression takes.
func (x *Expression) Bytes() int64 {
	if x.regex == nil {
		return 0
	}
	return x.regex.size()
}

// matchAll finds the topics of an expression, unless that takes too long.
func (r *regex) matchAll(names iter.Seq[string]) error {
	left := maxMatch
	for name := range names {
		if left -= r.cost * len(name); left < 0 {
			return fmt.Errorf("too large for so many topics")
		}
	}
	r.topics = r.match(names)
	return nil
}

// size is about how many bytes of memory the expression takes, with the names that it
// stands for: those are the image's own.
func (r *regex) size() int64 { return r.program + int64(nameBytes*len(r.topics)) }

// weighRegex counts an expression anew after it stands for other topics. Topics that
// come may take a group past its bound; then no member may join that takes more.
func (c *Core) weighRegex(g *group, r *regex) { c.reweigh(g, &r.held, r.size()) }

// regexCost is about how many instructions an expression takes, found before any
// are made: repetitions of repetitions may be millions.
func regexCost(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)/2
	for _, sub := range re.Sub {
		n = min(n+regexCost(sub), 2*maxRegexCost)
	}
	if re.Op == syntax.OpRepeat {
		n = min(n*max(1, re.Min, re.Max), 2*maxRegexCost)
	}
	return n
}

// match finds the topics of an expression.
func (r *regex) match(names iter.Seq[string]) []string {
	var list []string
	for name := range names {
		if r.pattern.MatchString(name) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// subscribesTo calls yield with the topics of a member, some perhaps twice.
func (cg *consumerGroup) subscribesTo(m *consumer) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, t := range m.topics {
			if !yield(t) {
				return
			}
		}
		if r := cg.regexes[m.regex]; m.regex != "" && r != nil {
			for _, t := range r.topics {
				if !yield(t) {
					return
				}
			}
		}
	}
}

// follow brings an expression up to date with topics that have come or gone, or exist as
// before, and tells whether it stands for others now.
func (r *regex) follow(cl Cluster, changed []string) bool {
	was := len(r.topics)
	var gone, come []string
	for _, name := range changed {
		_, _, exists := cl.Topic(name)
		_, has := slices.BinarySearch(r.topics, name)
		switch {
		case has && !exists:
			gone = append(gone, name)
		case !has && exists && r.pattern.MatchString(name):
			come = append(come, name)
		}
	}
	if len(gone)+len(come) == 0 {
		return false
	}
	slices.Sort(gone)
	topics := make([]string, 0, was-len(gone)+len(come))
	for _, name := range r.topics {
		if _, is := slices.BinarySearch(gone, name); !is {
			topics = append(topics, name)
		}
	}
	r.topics = sortedSet(append(topics, come...))
	return true
}

// hashTopics is a fingerprint of the topics that a group subscribes to: which there
// are, under which ids, with how many partitions. It does not depend on an order. 0
// is the one of none.
func (cg *consumerGroup) hashTopics(cl Cluster) int64 {
	sum := uint64(0)
	for name := range cg.subscriptions() {
		id, partitions, ok := cl.Topic(name)
		if !ok {
			continue
		}
		h := fnv.New64a()
		h.Write(id[:])
		h.Write([]byte{byte(partitions >> 24), byte(partitions >> 16), byte(partitions >> 8), byte(partitions)})
		h.Write([]byte(name))
		sum += h.Sum64()
	}
	return int64(sum)
}
