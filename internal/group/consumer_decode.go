package group

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirstream/weir/internal/assignor"
)

// consumerEntry is a decoded record of a consumer group.
type consumerEntry struct {
	kind  int16
	name  string // of the member, or the regular expression
	epoch int32
	hash  int64
	at    int64 // ms

	member    *consumer // what a member said, or where it stands
	target    targets
	topics    []string
	tombstone bool
}

func decodeConsumer(kind int16, key, value []byte) (entry, error) {
	k := decoder{b: key[2:]}
	x := &consumerEntry{kind: kind, tombstone: value == nil}
	e := entry{consumer: x}
	e.group = k.oldText()
	switch kind {
	case keyConsumerMember, keyConsumerTarget, keyConsumerCurrent, keyConsumerRegex:
		x.name = k.oldText()
	}
	if k.err != nil || len(k.b) > 0 {
		return entry{}, fmt.Errorf("key of a consumer group's record of version %d: %w", kind, errShortRecord)
	}
	if value == nil || kind == keyConsumerPartitions {
		return e, nil
	}
	if err := checkVersion(value, 0); err != nil {
		return entry{}, fmt.Errorf("consumer group %q, record of key version %d: %w", e.group, kind, err)
	}
	d := decoder{b: value[2:]}
	x.decode(&d)
	if d.err != nil {
		return entry{}, fmt.Errorf("consumer group %q, record of key version %d: %w", e.group, kind, d.err)
	}
	return e, nil
}

func (x *consumerEntry) decode(d *decoder) {
	switch x.kind {
	case keyConsumerGroup:
		x.epoch = d.int32()
		d.tags(func(tag int, t *decoder) {
			if tag == 0 {
				x.hash = t.int64()
			}
		})
	case keyConsumerMember:
		x.member = decodeMember(d)
	case keyConsumerTargetEpoch:
		x.epoch = d.int32()
		d.tags(func(tag int, t *decoder) {
			if tag == 0 {
				x.at = t.int64()
			}
		})
	case keyConsumerTarget:
		x.target = decodeTarget(d)
	case keyConsumerCurrent:
		x.member = decodeCurrent(d)
	case keyConsumerRegex:
		x.topics = d.strings()
		d.int64()
		x.at = d.int64()
		d.tags(noTags)
	}
}

func (d *decoder) strings() []string {
	var list []string
	for n := d.length(1); n > 0 && d.err == nil; n-- {
		list = append(list, d.string())
	}
	return list
}

func decodeMember(d *decoder) *consumer {
	m := &consumer{instance: d.nullable(), rack: d.nullable()}
	m.client = Client{d.string(), d.string()}
	m.topics = sortedSet(d.strings())
	m.regex = text(d.nullable())
	m.rebalanceTimeout = max(0, time.Duration(d.int32())*time.Millisecond)
	m.assignor = text(d.nullable())
	d.tags(func(tag int, t *decoder) {
		if tag != 0 || t.int8() < 0 {
			return
		}
		m.classic = &classicMember{sessionTimeout: max(0, time.Duration(t.int32())*time.Millisecond)}
		for n := t.length(3); n > 0 && t.err == nil; n-- {
			m.classic.protocols = append(m.classic.protocols, protocol{t.string(), t.bytes()})
			t.tags(noTags)
		}
		t.tags(noTags)
		if len(m.classic.protocols) == 0 {
			t.fail() // no broker writes that, and all that reads it asks for the first one
		}
	})
	return m
}

func decodeTarget(d *decoder) targets {
	t := targets{}
	for n := d.length(18); n > 0 && d.err == nil; n-- {
		var topic assignor.TopicID
		copy(topic[:], d.take(16))
		list := d.int32s()
		slices.Sort(list)
		t[topic] = slices.Compact(list)
		d.tags(noTags)
	}
	d.tags(noTags)
	return t
}

func decodeCurrent(d *decoder) *consumer {
	m := &consumer{epoch: d.int32(), previous: d.int32(), state: memberState(d.int8())}
	m.assigned = d.holdings(m.epoch)
	m.revoking = d.holdings(m.epoch)
	d.tags(noTags)
	return m
}

// holdings reads partitions. Those without an epoch of their own, as Kafka wrote them
// before 4.3, have had the member's epoch at the latest.
func (d *decoder) holdings(epoch int32) holdings {
	var p holdings
	for n := d.length(18); n > 0 && d.err == nil; n-- {
		var topic assignor.TopicID
		copy(topic[:], d.take(16))
		list := d.int32s()
		var epochs []int32
		d.tags(func(tag int, t *decoder) {
			if tag == 0 {
				epochs = t.int32s()
			}
		})
		for i, partition := range list {
			at := epoch
			if i < len(epochs) {
				at = epochs[i]
			}
			p.add(topic, partition, at)
		}
	}
	return p
}

// sortedSet sorts a list of its own and leaves each string once.
func sortedSet(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
