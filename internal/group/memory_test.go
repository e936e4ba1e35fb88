package group

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// joinNow joins a group with metadata of n bytes, in the version before member
// ids were required, and returns the code and the member's id.
func joinNow(c *Core, now time.Time, group, member string, n int) (int16, string) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID = 2, group, member
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = 10_000, 10_000, "consumer"
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", make([]byte, n)
	req.Protocols = append(req.Protocols, p)
	c.Join(now, 1, Client{ID: "c", Host: "/h"}, req)
	resp := c.Take().Replies[0].Response.(*kmsg.JoinGroupResponse)
	return resp.ErrorCode, resp.MemberID
}

func numbered() func(prefix string) string {
	n := 0
	return func(prefix string) string { n++; return fmt.Sprintf("%s-%d", prefix, n) }
}

// TestMemoryIsBounded: over all Cores together what members sent is limited, and
// given back when they are gone.
func TestMemoryIsBounded(t *testing.T) {
	sum := int64(0)
	cfg := Config{NewMemberID: numbered(), MaxMemory: 100_000, Memory: func(n int64) int64 { sum += n; return sum }}
	a, b := New(cfg), New(cfg)
	now := time.UnixMilli(0)
	code, id := joinNow(a, now, "a", "", 60_000)
	if code != none {
		t.Fatalf("first join: code %d", code)
	}
	if code, _ := joinNow(b, now, "b", "", 60_000); code != groupMaxSizeReached || b.Len() != 0 {
		t.Errorf("a join beyond the limit: code %d, %d groups", code, b.Len())
	}
	if code, _ := joinNow(a, now, "a", id, 60_000); code != none {
		t.Errorf("a member that takes no more: code %d", code)
	}
	if code, _ := joinNow(a, now, "a", id, 120_000); code != groupMaxSizeReached {
		t.Errorf("a member that grows beyond the limit: code %d", code)
	}
	a.Tick(now.Add(time.Hour))
	if sum != 0 || a.Held() != 0 {
		t.Errorf("%d bytes are counted when nobody is left", sum)
	}
	if code, _ := joinNow(b, now, "b", "", 60_000); code != none {
		t.Errorf("a join into what was given back: code %d", code)
	}
}

// TestGroupBytesAreBounded: the leader is told all metadata in one answer.
func TestGroupBytesAreBounded(t *testing.T) {
	c := New(Config{NewMemberID: numbered(), MaxGroupBytes: 10_000})
	now := time.UnixMilli(0)
	if code, _ := joinNow(c, now, "g", "", 20_000); code != groupMaxSizeReached {
		t.Errorf("code %d", code)
	}
	_, id := joinNow(c, now, "g", "", 5_000)
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.Generation, req.MemberID = "g", 1, id
	assign := kmsg.NewSyncGroupRequestGroupAssignment()
	assign.MemberID, assign.MemberAssignment = id, make([]byte, 20_000)
	req.GroupAssignment = append(req.GroupAssignment, assign)
	c.Sync(now, 2, req)
	if code := c.Take().Replies[0].Response.(*kmsg.SyncGroupResponse).ErrorCode; code != unknownServerError {
		t.Errorf("an assignment beyond the limit: code %d", code)
	}
}

// TestPendingIDsAreCounted, for nobody knows whether they are ever used.
func TestPendingIDsAreCounted(t *testing.T) {
	c := New(Config{NewMemberID: numbered(), MaxMemory: 4000})
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.ProtocolType = 9, "g", "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 10_000
	req.Protocols = append(req.Protocols, kmsg.NewJoinGroupRequestProtocol())
	for range 20 {
		c.Join(time.UnixMilli(0), 1, Client{}, req)
	}
	replies := c.Take().Replies
	if code := replies[19].Response.(*kmsg.JoinGroupResponse).ErrorCode; code != groupMaxSizeReached {
		t.Errorf("the 20th id: code %d, %d bytes held", code, c.Held())
	}
}

// TestLongIDs: an id that stands in every record may not be long, and the part of
// a member's id that clients choose is cut between characters.
func TestLongIDs(t *testing.T) {
	c := New(Config{NewMemberID: numbered()})
	long := strings.Repeat("g", MaxID+1)
	if code, _ := joinNow(c, time.UnixMilli(0), long, "", 1); code != invalidGroupID {
		t.Errorf("join: code %d", code)
	}
	if code, _ := joinNow(c, time.UnixMilli(0), long[1:], "", 1); code != none {
		t.Errorf("join with the longest: code %d", code)
	}
	if code := commitTimes(c, long, 1)[0]; code != invalidGroupID {
		t.Errorf("commit: code %d", code)
	}
	if p := memberPrefix(strings.Repeat("é", maxPrefix)); !utf8.ValidString(p) || len(p) != maxPrefix-1 {
		t.Errorf("prefix of %d bytes, valid %v", len(p), utf8.ValidString(p))
	}
}

// TestLongStringsOfAJoin: what a record cannot hold is refused: from v6 on a request can
// have strings that are longer.
func TestLongStringsOfAJoin(t *testing.T) {
	long := strings.Repeat("x", maxString+1)
	for name, tt := range map[string]struct {
		change func(r *kmsg.JoinGroupRequest, s string)
		most   int
	}{
		"protocol type": {func(r *kmsg.JoinGroupRequest, s string) { r.ProtocolType = s }, maxString},
		"protocol":      {func(r *kmsg.JoinGroupRequest, s string) { r.Protocols[0].Name = s }, maxString},
		"instance":      {func(r *kmsg.JoinGroupRequest, s string) { r.InstanceID = &s }, MaxID},
	} {
		for n, want := range map[int]int16{tt.most: none, tt.most + 1: invalidRequest} {
			c := New(Config{NewMemberID: numbered()})
			req := kmsg.NewPtrJoinGroupRequest()
			req.Version, req.Group, req.ProtocolType, req.SessionTimeoutMillis = 9, "g", "consumer", 10_000
			req.InstanceID, req.Protocols = kmsg.StringPtr("i"), []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
			tt.change(req, long[:n])
			c.Join(time.UnixMilli(0), 1, Client{"c", "/h"}, req)
			if got := c.Take().Replies[0].Response.(*kmsg.JoinGroupResponse).ErrorCode; got != want {
				t.Errorf("%s of %d bytes: code %d, want %d", name, n, got, want)
			}
		}
	}
}

// commitTimes commits offsets 0 to n-1 of one partition in one request.
func commitTimes(c *Core, group string, n int64) (codes []int16) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 8, group, -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "t"
	for i := range n {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Offset = i
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	resp := c.Commit(time.UnixMilli(0), req, func(*kmsg.OffsetCommitRequestTopic, int32) int16 { return 0 })
	for _, p := range resp.Topics[0].Partitions {
		codes = append(codes, p.ErrorCode)
	}
	return codes
}

// TestCommitLastOneCounts: a partition that stands in a request many times makes
// one record.
func TestCommitLastOneCounts(t *testing.T) {
	c := New(Config{})
	if codes := commitTimes(c, "g", 50); len(codes) != 50 || codes[49] != none {
		t.Errorf("codes %v", codes)
	}
	if records := c.Take().Records; len(records) != 1 {
		t.Errorf("%d records", len(records))
	}
	if at := c.groups["g"].offsets["t"][0].at; at != 49 {
		t.Errorf("offset %d is committed", at)
	}
}

// TestCommitTooLarge: what the log cannot hold in one act is refused before the
// group hears of it.
func TestCommitTooLarge(t *testing.T) {
	c := New(Config{MaxRecord: 50})
	if codes := commitTimes(c, "g", 2); codes[0] != invalidCommitOffsetSize || codes[1] != invalidCommitOffsetSize {
		t.Errorf("codes %v", codes)
	}
	if out := c.Take(); len(out.Records) != 0 || c.Len() != 0 {
		t.Errorf("%d records, %d groups", len(out.Records), c.Len())
	}
}

// TestNotesAreBounded: the metadata of offsets is what clients make large, and it is
// kept for days. What has none is committed whatever others have noted.
func TestNotesAreBounded(t *testing.T) {
	sum := int64(0)
	cfg := Config{MaxMemory: 10_000, Memory: func(n int64) int64 { sum += n; return sum }}
	c, now := New(cfg), time.UnixMilli(1_000_000)
	var log []Record
	commit := func(topic string, partition int32, note int) int16 {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.Generation = 9, "g", -1
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Metadata = partition, kmsg.StringPtr(strings.Repeat("m", note))
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
		req.Topics = append(req.Topics, rt)
		resp := c.Commit(now, req, func(*kmsg.OffsetCommitRequestTopic, int32) int16 { return 0 })
		log = append(log, c.Take().Records...)
		return resp.Topics[0].Partitions[0].ErrorCode
	}
	for _, s := range []struct {
		what      string
		partition int32
		note      int
		want      int16
		held      int64
	}{
		{"the first", 0, 4096, none, 4096},
		{"the second", 1, 4096, none, 8192},
		{"one for which there is no room", 2, 4096, offsetMetadataTooLarge, 8192},
		{"a short one", 2, 1000, none, 9192},
		{"one in the place of another", 1, 4096, none, 9192},
		{"a shorter one in its place", 1, 96, none, 5192},
		{"none", 3, 0, none, 5192},
	} {
		if code := commit("t", s.partition, s.note); code != s.want || sum != s.held || c.Held() != s.held {
			t.Errorf("%s: code %d, %d bytes counted, want %d and %d", s.what, code, sum, s.want, s.held)
		}
	}
	again := New(Config{})
	for _, r := range log {
		if err := again.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	if again.Held() != c.Held() {
		t.Errorf("%d bytes are counted after a restart, %d before", again.Held(), c.Held())
	}
	c.DropTopic(now, "t")
	if sum != 0 || c.Len() != 0 {
		t.Errorf("%d bytes are counted when all is gone", sum)
	}
}

// TestFetchAnswersOnce: asking again and again makes the answer no larger, and its
// size is known before.
func TestFetchAnswersOnce(t *testing.T) {
	c := New(Config{})
	commitTimes(c, "g", 1)
	req := kmsg.NewOffsetFetchRequestGroup()
	req.Group = "g"
	topic := kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic, topic.Partitions = "t", []int32{0, 0, 1, 0}
	req.Topics = append(req.Topics, topic, topic)
	resp := c.Fetch(&req, false)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 2 {
		t.Errorf("answer: %+v", resp.Topics)
	}
	once := req
	once.Topics = req.Topics[:1]
	if a, b := c.FetchBytes(&req), c.FetchBytes(&once); a > b+1000 || a < 256 {
		t.Errorf("%d bytes announced, %d when asked once", a, b)
	}
}
