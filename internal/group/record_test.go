package group

import (
	"bytes"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzDecode feeds decode, and a Core, any bytes as a record; what decodes, is
// written again and read back the same.
func FuzzDecode(f *testing.F) {
	o := &offset{at: 5, epoch: 3, metadata: "m", time: 7, expires: -1, topicID: [16]byte{1}}
	f.Add(offsetKey("g", "t", 1), offsetValue(o))
	f.Add(offsetKey("g", "t", 1), []byte(nil))
	f.Add(groupKey("g"), []byte{0, 3, 0, 1, 'c', 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 9, 0}, []byte{})
	m := &consumer{instance: kmsg.StringPtr("i"), topics: []string{"a"}, regex: "b", state: memberUnrevoked, assigned: holdings{{}: {2: 3}},
		classic: &classicMember{time.Second, []protocol{{"p", []byte("mm")}}}}
	f.Add(consumerKey(keyConsumerGroup, "g"), groupEpochValue(&consumerGroup{hash: 1}))
	f.Add(memberKey(keyConsumerMember, "g", "m"), memberValue(m))
	f.Add(consumerKey(keyConsumerTargetEpoch, "g"), targetEpochValue(&consumerGroup{}))
	f.Add(memberKey(keyConsumerTarget, "g", "m"), targetValue(targets{{}: {1}}))
	f.Add(memberKey(keyConsumerCurrent, "g", "m"), currentValue(m))
	f.Add(memberKey(keyConsumerRegex, "g", ".*"), regexValue(&regex{topics: []string{"a"}}))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		c := New(Config{NewMemberID: func(p string) string { return p }})
		if c.Replay(Record{Key: key, Value: value}) != nil {
			return
		}
		now := time.UnixMilli(0)
		c.Ready(now)
		c.Tick(now.Add(time.Hour))
		c.Take()
		e, err := decode(key, value)
		if err != nil {
			t.Fatal(err)
		}
		if e.isOffset && e.offset != nil {
			again, err := decode(offsetKey(e.group, e.topic, e.partition), offsetValue(e.offset))
			if err != nil {
				t.Fatal(err)
			}
			same := *e.offset
			if same.expires >= 0 {
				same.epoch, same.topicID = -1, [16]byte{} // version 1 has no room for them
			}
			if *again.offset != same {
				t.Fatalf("%+v became %+v", *e.offset, *again.offset)
			}
		}
	})
}

// TestRecordBytes pins the bytes of both records to Kafka's format.
func TestRecordBytes(t *testing.T) {
	o := &offset{at: 258, epoch: 4, metadata: "m", time: 3, expires: -1, topicID: [16]byte{15: 7}}
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"offset key 1", offsetKey("g", "to", 2), "\x00\x01\x00\x01g\x00\x02to\x00\x00\x00\x02"},
		{"offset value 4", offsetValue(o), "\x00\x04\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x04\x02m" +
			"\x00\x00\x00\x00\x00\x00\x00\x03\x01\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07"},
		{"group key 2", groupKey("g"), "\x00\x02\x00\x01g"},
	} {
		if !bytes.Equal(c.got, []byte(c.want)) {
			t.Errorf("%s: % x, want % x", c.name, c.got, c.want)
		}
	}
	o.expires = 9
	if got, want := offsetValue(o), "\x00\x01\x00\x00\x00\x00\x00\x00\x01\x02\x00\x01m"+
		"\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x09"; string(got) != want {
		t.Errorf("offset value 1: % x, want % x", got, want)
	}
}
