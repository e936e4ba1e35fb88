package group

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions of the keys and values of __consumer_offsets, those that Apache Kafka
// 4.3 writes. Older ones are read.
const (
	offsetKeyVersion     = 1 // 0 is the same without a difference in bytes
	groupKeyVersion      = 2
	groupValueVersion    = 3
	offsetValueVersion   = 4 // 4 brings the topic id
	offsetExpiresVersion = 1 // the only one that can hold a time of expiry
)

// maxString is the longest string, in bytes, that the values written here can hold.
const maxString = 1<<15 - 1

// UnknownKeyError is returned for a record of a type that this version of the
// broker does not know, written by a newer one or by Apache Kafka.
type UnknownKeyError struct{ Version int16 }

func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("record key of version %d in __consumer_offsets, known are 0 to 8 and 16", e.Version)
}

func offsetKey(group, topic string, partition int32) []byte {
	k := kmsg.OffsetCommitKey{Version: offsetKeyVersion, Group: group, Topic: topic, Partition: partition}
	return k.AppendTo(nil)
}

func offsetValue(o *offset) []byte {
	v := kmsg.NewOffsetCommitValue()
	v.Version = offsetValueVersion
	if o.expires >= 0 {
		v.Version = offsetExpiresVersion
	}
	v.Offset, v.LeaderEpoch, v.Metadata = o.at, o.epoch, o.metadata
	v.CommitTimestamp, v.ExpireTimestamp, v.TopicID = o.time, o.expires, o.topicID
	return v.AppendTo(nil)
}

func groupKey(id string) []byte {
	k := kmsg.GroupMetadataKey{Version: groupKeyVersion, Group: id}
	return k.AppendTo(nil)
}

// groupValue is the membership of a group. Of the protocols that a member
// supports only the chosen one is kept, as Kafka's format has it.
func groupValue(g *group) []byte {
	v := kmsg.NewGroupMetadataValue()
	v.Version = groupValueVersion
	v.ProtocolType, v.Generation = g.protocolType, g.generation
	if len(g.members) > 0 {
		v.Protocol, v.Leader = &g.protocol, &g.leader
	}
	v.CurrentStateTimestamp = g.since.UnixMilli()
	for _, m := range g.members {
		vm := kmsg.NewGroupMetadataValueMember()
		vm.MemberID, vm.InstanceID = m.id, m.instance
		vm.ClientID, vm.ClientHost = m.client.ID, m.client.Host
		vm.RebalanceTimeoutMillis = int32(m.rebalanceTimeout.Milliseconds())
		vm.SessionTimeoutMillis = int32(m.sessionTimeout.Milliseconds())
		vm.Subscription, vm.Assignment = m.metadata(g.protocol), m.assignment
		v.Members = append(v.Members, vm)
	}
	return v.AppendTo(nil)
}

// persist writes the group's membership, unless it is too large for one record.
func (c *Core) persist(g *group) bool {
	v := groupValue(g)
	if len(v) > c.cfg.MaxRecord {
		return false
	}
	g.persisted = true
	c.record(groupKey(g.id), v)
	return true
}

// entry is a decoded record: of an offset if topic is set, else of a group.
type entry struct {
	group     string
	isOffset  bool
	topic     string
	partition int32
	offset    *offset                  // nil: tombstone
	value     *kmsg.GroupMetadataValue // nil: tombstone
	consumer  *consumerEntry           // of a consumer group, if set
}

// decode reads a record. It never panics, and what it allocates is bounded by
// the length of the record.
func decode(key, value []byte) (entry, error) {
	if len(key) < 2 {
		return entry{}, fmt.Errorf("record key of %d bytes in __consumer_offsets", len(key))
	}
	switch version := int16(binary.BigEndian.Uint16(key)); version {
	case 0, offsetKeyVersion:
		return decodeOffset(key, value)
	case groupKeyVersion:
		return decodeGroup(key, value)
	case keyConsumerGroup, keyConsumerPartitions, keyConsumerMember, keyConsumerTargetEpoch,
		keyConsumerTarget, keyConsumerCurrent, keyConsumerRegex:
		return decodeConsumer(version, key, value)
	default:
		return entry{}, &UnknownKeyError{version}
	}
}

func decodeOffset(key, value []byte) (entry, error) {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(key); err != nil {
		return entry{}, fmt.Errorf("key of a committed offset: %w", err)
	}
	e := entry{group: k.Group, isOffset: true, topic: k.Topic, partition: k.Partition}
	if value == nil {
		return e, nil
	}
	v := kmsg.NewOffsetCommitValue()
	if err := checkVersion(value, offsetValueVersion); err != nil {
		return entry{}, fmt.Errorf("committed offset of group %q: %w", k.Group, err)
	}
	if err := v.ReadFrom(value); err != nil {
		return entry{}, fmt.Errorf("committed offset of group %q: %w", k.Group, err)
	}
	e.offset = &offset{at: v.Offset, epoch: -1, metadata: v.Metadata, time: v.CommitTimestamp, expires: -1, topicID: v.TopicID}
	if v.Version >= 3 {
		e.offset.epoch = v.LeaderEpoch
	}
	if v.Version == offsetExpiresVersion {
		e.offset.expires = max(-1, v.ExpireTimestamp)
	}
	return e, nil
}

func decodeGroup(key, value []byte) (entry, error) {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(key); err != nil {
		return entry{}, fmt.Errorf("key of a group: %w", err)
	}
	e := entry{group: k.Group}
	if value == nil {
		return e, nil
	}
	v := kmsg.NewGroupMetadataValue()
	if err := checkVersion(value, groupValueVersion); err != nil {
		return entry{}, fmt.Errorf("group %q: %w", k.Group, err)
	}
	if err := v.ReadFrom(value); err != nil {
		return entry{}, fmt.Errorf("group %q: %w", k.Group, err)
	}
	e.value = &v
	return e, nil
}

func checkVersion(value []byte, newest int16) error {
	if len(value) < 2 {
		return fmt.Errorf("value of %d bytes", len(value))
	}
	if version := int16(binary.BigEndian.Uint16(value)); version < 0 || version > newest {
		return fmt.Errorf("value of version %d, known are 0 to %d", version, newest)
	}
	return nil
}
