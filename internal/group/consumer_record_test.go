package group

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestConsumerRecordBytes pins the bytes of the records of consumer groups to the
// schemas of Kafka's messages ConsumerGroup*Key and ConsumerGroup*Value.
func TestConsumerRecordBytes(t *testing.T) {
	topic := [16]byte{15: 7}
	id := strings.Repeat("\x00", 15) + "\x07"
	m := &consumer{
		id: "m", instance: kmsg.StringPtr("i"), client: Client{"c", "/h"}, rebalanceTimeout: 258 * time.Millisecond,
		topics: []string{"a", "bc"}, regex: "x", assignor: "range",
		epoch: 5, previous: 4, state: memberUnrevoked, assigned: holdings{topic: {2: 3, 1: 5}}, revoking: holdings{topic: {0: 1}},
	}
	plain := &consumer{rack: kmsg.StringPtr("r")}
	classic := &consumer{classic: &classicMember{time.Second, []protocol{{"p", []byte("mm")}}}}
	cg := &consumerGroup{epoch: 7, hash: 258, assignmentEpoch: 6, assignedAt: time.UnixMilli(259)}
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"key 3", consumerKey(keyConsumerGroup, "g"), "\x00\x03\x00\x01g"},
		{"key 5", memberKey(keyConsumerMember, "g", "mm"), "\x00\x05\x00\x01g\x00\x02mm"},
		{"key 6", consumerKey(keyConsumerTargetEpoch, "g"), "\x00\x06\x00\x01g"},
		{"key 7", memberKey(keyConsumerTarget, "g", "m"), "\x00\x07\x00\x01g\x00\x01m"},
		{"key 8", memberKey(keyConsumerCurrent, "g", "m"), "\x00\x08\x00\x01g\x00\x01m"},
		{"key 16", memberKey(keyConsumerRegex, "g", ".*"), "\x00\x10\x00\x01g\x00\x02.*"},
		{"value 3", groupEpochValue(cg), "\x00\x00\x00\x00\x00\x07\x01\x00\x08\x00\x00\x00\x00\x00\x00\x01\x02"},
		{"value 3, no topics", groupEpochValue(&consumerGroup{epoch: 7}), "\x00\x00\x00\x00\x00\x07\x00"},
		{"value 5", memberValue(m), "\x00\x00\x02i\x00\x02c\x03/h\x03\x02a\x03bc\x02x\x00\x00\x01\x02\x06range\x00"},
		{"value 5, little", memberValue(plain), "\x00\x00\x00\x02r\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00"},
		{"value 5, classic", memberValue(classic), "\x00\x00\x00\x00\x01\x01\x01\x01\x00\x00\x00\x00\x00\x01\x00\x0d\x01\x00\x00\x03\xe8\x02\x02p\x03mm\x00\x00"},
		{"value 6", targetEpochValue(cg), "\x00\x00\x00\x00\x00\x06\x01\x00\x08\x00\x00\x00\x00\x00\x00\x01\x03"},
		{"value 7", targetValue(targets{topic: {1, 2}}), "\x00\x00\x02" + id + "\x03\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00"},
		{"value 8", currentValue(m), "\x00\x00\x00\x00\x00\x05\x00\x00\x00\x04\x01" +
			"\x02" + id + "\x03\x00\x00\x00\x01\x00\x00\x00\x02\x01\x00\x09\x03\x00\x00\x00\x05\x00\x00\x00\x03" +
			"\x02" + id + "\x02\x00\x00\x00\x00\x01\x00\x05\x02\x00\x00\x00\x01" + "\x00"},
		{"value 16", regexValue(&regex{topics: []string{"a"}, since: 3}), "\x00\x00\x02\x02a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00"},
	} {
		if !bytes.Equal(c.got, []byte(c.want)) {
			t.Errorf("%s:\n% x, want\n% x", c.name, c.got, c.want)
		}
	}
}

// TestConsumerRecordsShort cuts every value at every place: none is read, and none
// panics or allocates by a length that is not there.
func TestConsumerRecordsShort(t *testing.T) {
	topic := [16]byte{15: 7}
	m := &consumer{id: "m", instance: kmsg.StringPtr("i"), topics: []string{"a"}, assigned: holdings{topic: {2: 3}},
		classic: &classicMember{time.Second, []protocol{{"p", []byte("mm")}}}}
	cg := &consumerGroup{hash: 1, assignedAt: time.UnixMilli(1)}
	for key, value := range map[string][]byte{
		string(consumerKey(keyConsumerGroup, "g")):       groupEpochValue(cg),
		string(memberKey(keyConsumerMember, "g", "m")):   memberValue(m),
		string(consumerKey(keyConsumerTargetEpoch, "g")): targetEpochValue(cg),
		string(memberKey(keyConsumerTarget, "g", "m")):   targetValue(targets{topic: {1}}),
		string(memberKey(keyConsumerCurrent, "g", "m")):  currentValue(m),
		string(memberKey(keyConsumerRegex, "g", ".*")):   regexValue(&regex{topics: []string{"a"}}),
	} {
		if _, err := decode([]byte(key), value); err != nil {
			t.Fatal(err)
		}
		for n := range value {
			if _, err := decode([]byte(key), value[:n]); err == nil {
				t.Errorf("% x is read", value[:n])
			}
		}
	}
	huge := append([]byte("\x00\x00"), 0xff, 0xff, 0xff, 0xff, 0x07)
	if n := testing.AllocsPerRun(1, func() { decode(memberKey(keyConsumerTarget, "g", "m"), huge) }); n > 20 {
		t.Errorf("%v allocations", n)
	}
}
