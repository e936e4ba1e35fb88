package house

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Groups as offsets-topic.md has them, read without anything of the product.

// pageGroup is what a broker shows of a group.
type pageGroup struct {
	Epoch, AssignmentEpoch int
	Members                map[string]pageMember
}

type pageMember struct {
	Instance, Regex, Subscribed string
	Epoch                       int
	Assigned, Target            string
	Classic                     bool
}

// pageGroups holds the newest record of each kind, by group and member.
type pageGroups struct {
	epochs, assignments map[string]int
	members             map[[2]string]pageMember
	targets             map[[2]string]string
	places              map[[2]string]pageMember // epoch and assignment only
	expressions         map[[2]string][]string
	classic             map[string]pageGroup
	kinds               [17]int // records with a value, by their key's version
}

// compact is a string or bytes in the flexible encoding; ok is false if it is null.
func (r *pageReader) compact() (s string, ok bool) {
	n := r.uvarint()
	if n == 0 {
		return "", false
	}
	return string(r.take(n - 1)), true
}

func (r *pageReader) text() string {
	s, _ := r.compact()
	return s
}

// array calls f for each element of a compact array.
func (r *pageReader) array(f func()) {
	for range r.uvarint() - 1 {
		f()
	}
}

// tags calls f with each tagged field.
func (r *pageReader) tags(f func(number int, r *pageReader)) {
	for range r.uvarint() {
		number := r.uvarint()
		one := &pageReader{b: r.take(r.uvarint())}
		if f == nil {
			r.err = fmt.Errorf("tag %d", number)
			return
		}
		f(number, one)
		if one.err != nil || len(one.b) > 0 {
			r.err = fmt.Errorf("tag %d: %d bytes are left, %w", number, len(one.b), one.err)
		}
	}
}

// partitions reads an array of topics with partitions as "topic-partition …".
func (r *pageReader) partitions(names map[string]string, tag func(partitions, number int, r *pageReader)) string {
	var all []string
	r.array(func() {
		name, n := names[fmt.Sprintf("%x", r.take(16))], 0
		r.array(func() {
			all = append(all, fmt.Sprint(name, "-", r.u32()))
			n++
		})
		if tag == nil {
			r.tags(nil)
			return
		}
		r.tags(func(number int, x *pageReader) { tag(n, number, x) })
	})
	slices.Sort(all)
	return strings.Join(all, " ")
}

// nullableText is a string with a length of two bytes; -1: null.
func (r *pageReader) nullableText() string {
	if n := r.i16(); n >= 0 {
		return string(r.take(n))
	}
	return ""
}

func (g *pageGroups) read(t *testing.T, log *pageLog, names map[string]string) {
	if g.epochs == nil {
		*g = pageGroups{map[string]int{}, map[string]int{}, map[[2]string]pageMember{}, map[[2]string]string{},
			map[[2]string]pageMember{}, map[[2]string][]string{}, map[string]pageGroup{}, [17]int{}}
	}
	for _, b := range log.batches {
		for _, rec := range b.records {
			key := &pageReader{b: rec.key}
			kind := key.i16()
			if kind < 2 {
				continue
			}
			who := [2]string{key.str()}
			if kind == 5 || kind == 7 || kind == 8 || kind == 16 {
				who[1] = key.str()
			}
			if key.err != nil || len(key.b) > 0 {
				t.Errorf("key of kind %d: %d bytes are left, %v", kind, len(key.b), key.err)
			}
			if rec.value == nil {
				g.forget(kind, who)
				continue
			}
			value := &pageReader{b: rec.value}
			g.take(t, kind, who, value, names)
			if value.err != nil || len(value.b) > 0 {
				t.Errorf("value of kind %d of %s: %d bytes are left, %v", kind, who, len(value.b), value.err)
			}
		}
	}
}

func (g *pageGroups) forget(kind int, who [2]string) {
	switch kind {
	case 2:
		delete(g.classic, who[0])
	case 3:
		delete(g.epochs, who[0])
	case 5:
		delete(g.members, who)
	case 6:
		delete(g.assignments, who[0])
	case 7:
		delete(g.targets, who)
	case 8:
		delete(g.places, who)
	case 16:
		delete(g.expressions, who)
	}
}

// take reads the value of a record.
func (g *pageGroups) take(t *testing.T, kind int, who [2]string, r *pageReader, names map[string]string) {
	version := r.i16()
	if kind == 2 && version != 3 || kind != 2 && version != 0 || kind > 16 {
		t.Fatalf("kind %d has version %d", kind, version)
	}
	g.kinds[kind]++
	long := func(tag int, r *pageReader) { r.i64() } // tag 0, the only one
	switch kind {
	case 2:
		g.classic[who[0]] = readPageClassic(r)
	case 3:
		g.epochs[who[0]] = r.u32()
		r.tags(long)
	case 5:
		g.members[who] = readPageMember(r)
	case 6:
		g.assignments[who[0]] = r.u32()
		r.tags(long)
	case 7:
		g.targets[who] = r.partitions(names, nil)
		r.tags(nil)
	case 8:
		g.places[who] = readPagePlace(t, r, names)
	case 16:
		var topics []string
		r.array(func() { topics = append(topics, r.text()) })
		if version := r.i64(); version != 0 {
			t.Errorf("%s: version %d", who, version)
		}
		r.i64() // when
		r.tags(nil)
		g.expressions[who] = topics
	default:
		t.Fatalf("a record of kind %d", kind)
	}
}

func readPageClassic(r *pageReader) pageGroup {
	g := pageGroup{Members: map[string]pageMember{}}
	r.str()          // protocol type
	r.u32()          // generation
	r.nullableText() // protocol
	r.nullableText() // leader
	r.i64()          // time of the last change
	for range r.u32() {
		id, m := r.str(), pageMember{Instance: r.nullableText()}
		r.str() // client id
		r.str() // client host
		r.u32() // rebalance timeout
		r.u32() // session timeout
		m.Subscribed = hex.EncodeToString(r.take(r.u32()))
		m.Assigned = hex.EncodeToString(r.take(r.u32()))
		g.Members[id] = m
	}
	return g
}

func readPageMember(r *pageReader) (m pageMember) {
	m.Instance = r.text()
	r.compact() // rack
	r.text()    // client id
	r.text()    // client host
	var topics []string
	r.array(func() { topics = append(topics, r.text()) })
	slices.Sort(topics)
	m.Subscribed, m.Regex = strings.Join(topics, " "), r.text()
	r.u32()     // rebalance timeout
	r.compact() // assignor
	r.tags(func(number int, x *pageReader) {
		if number != 0 || x.u8() != 1 {
			x.err = fmt.Errorf("tag %d", number)
			return
		}
		m.Classic = true
		x.u32() // session timeout
		x.array(func() {
			x.text() // protocol
			x.text() // metadata
			x.tags(nil)
		})
		x.tags(nil)
	})
	return m
}

func readPagePlace(t *testing.T, r *pageReader, names map[string]string) (m pageMember) {
	m.Epoch = r.u32()
	r.u32() // the epoch before
	if state := r.u8(); state > 2 {
		t.Errorf("state %d", state)
	}
	epochs := func(partitions, number int, x *pageReader) {
		x.array(func() {
			partitions--
			if epoch := x.u32(); epoch > m.Epoch {
				t.Errorf("given at epoch %d to a member of epoch %d", epoch, m.Epoch)
			}
		})
		if number != 0 || partitions != 0 {
			t.Errorf("tag %d; %d partitions without an epoch", number, partitions)
		}
	}
	m.Assigned = r.partitions(names, epochs)
	r.partitions(names, epochs) // still to be let go
	r.tags(nil)
	return m
}

// shown puts the records together to what a broker shows.
func (g *pageGroups) shown() map[string]pageGroup {
	out := map[string]pageGroup{}
	for name, one := range g.classic {
		out[name] = one
	}
	for name, epoch := range g.epochs {
		out[name] = pageGroup{Epoch: epoch, AssignmentEpoch: g.assignments[name], Members: map[string]pageMember{}}
	}
	for who, m := range g.members {
		place := g.places[who]
		m.Epoch, m.Assigned, m.Target = place.Epoch, place.Assigned, g.targets[who]
		out[who[0]].Members[who[1]] = m
	}
	return out
}
