package broker_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

// request makes a frame of a key, a version and whatever bytes follow.
func request(key, version int16, rest ...byte) []byte {
	b := []byte{0, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, 1)
	b = append(b, rest...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

var noClientID = []byte{0xff, 0xff}

func bytesOf(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			b = append(b, p...)
		case string:
			b = append(b, p...)
		case int:
			b = append(b, byte(p))
		case int16:
			b = binary.BigEndian.AppendUint16(b, uint16(p))
		case int32:
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		}
	}
	return b
}

// TestHostileFrames sends what Kafka answers with a close.
func TestHostileFrames(t *testing.T) {
	b := brokertest.Start(t)
	for name, input := range map[string][]byte{
		"H01 frame size -1":                   bytesOf(int32(-1)),
		"H02 frame size 0":                    bytesOf(int32(0)),
		"H03 frame of one byte":               bytesOf(int32(1), 0),
		"H04 shorter than a header":           bytesOf(int32(6), make([]byte, 6)),
		"H05 frame size 2 GiB-1":              bytesOf(int32(1<<31 - 1)),
		"H06 frame size 3 GiB":                {0xc0, 0, 0, 0},
		"H07 above socket.request.max.bytes":  bytesOf(int32(104857601)),
		"H11 TLS ClientHello":                 bytesOf(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3),
		"H12 HTTP request":                    []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
		"H16 unknown key 9999":                request(9999, 0, noClientID...),
		"H17 negative key":                    request(-1, 0, noClientID...),
		"H18 LeaderAndIsr":                    request(4, 0, noClientID...),
		"H19 StopReplica":                     request(5, 0, noClientID...),
		"H20 UpdateMetadata":                  request(6, 0, noClientID...),
		"H23 Metadata v127":                   request(3, 127, noClientID...),
		"H24 negative version":                request(3, -1, noClientID...),
		"H25 Produce v0":                      request(0, 0, noClientID...),
		"H26 client id beyond the frame":      request(3, 1, bytesOf(int16(100), "x")...),
		"H29 tag count 2^31":                  request(3, 9, bytesOf(noClientID, 0xff, 0xff, 0xff, 0xff, 7)...),
		"H30 tagged field beyond the frame":   request(3, 9, bytesOf(noClientID, 1, 0, 100, 0)...),
		"H31 over-long varint":                request(3, 9, bytesOf(noClientID, []byte(strings.Repeat("\xff", 10)))...),
		"H33 array of 2^31-1":                 request(3, 1, bytesOf(noClientID, int32(1<<31-1), make([]byte, 20))...),
		"H34 array of 400 million in 1 MiB":   request(3, 1, bytesOf(noClientID, int32(400e6), make([]byte, 1<<20))...),
		"H36 compact array of 2^32-1":         request(3, 9, bytesOf(noClientID, 0, 0xff, 0xff, 0xff, 0xff, 0x0f)...),
		"H37 Produce v7, topics of 2^31-1":    request(0, 7, bytesOf(noClientID, int16(-1), int16(-1), int32(0), int32(1<<31-1))...),
		"H37 Produce v7, partitions 2^31-1":   request(0, 7, bytesOf(noClientID, int16(-1), int16(-1), int32(0), int32(1), int16(1), "t", int32(1<<31-1))...),
		"H37 Produce v9, records of 2^31-1":   request(0, 9, bytesOf(noClientID, 0, 0, int16(-1), int32(0), 2, 2, "t", 2, int32(0), 0xff, 0xff, 0xff, 0xff, 7)...),
		"H38 OffsetFetch v1, nested bomb":     request(9, 1, bytesOf(noClientID, int16(1), "g", int32(1), int16(1), "t", int32(1<<30))...),
		"H39 string beyond the frame":         request(10, 0, bytesOf(noClientID, int16(1000), "g")...),
		"H40 string length -5":                request(10, 0, bytesOf(noClientID, int16(-5))...),
		"H42 bytes of 2 GiB (JoinGroup)":      request(11, 0, bytesOf(noClientID, int16(1), "g", int32(6000), int16(0), int16(0), int32(1), int16(1), "r", int32(1<<31-1))...),
		"Fetch v4, topics of 2^31-1":          request(1, 4, bytesOf(noClientID, int32(-1), int32(0), int32(0), int32(0), 0, int32(1<<31-1))...),
		"Fetch v4, cut short":                 request(1, 4, bytesOf(noClientID, int32(-1), int32(0))...),
		"ApiVersions larger than its limit":   request(18, 0, bytesOf(noClientID, make([]byte, 1<<20))...),
		"CreateTopics, a million of nothing":  request(19, 2, bytesOf(noClientID, int32(900_000), make([]byte, 1<<20-100))...),
		"CreateTopics, array beyond the rest": request(19, 2, bytesOf(noClientID, int32(1<<20), make([]byte, 100))...),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, b)
			// The broker may close before it has taken all.
			_, _ = c.net.Write(input)
			c.wantClosed()
		})
	}
	t.Run("others are served", func(t *testing.T) {
		ask[*kmsg.ApiVersionsResponse](dial(t, b), kmsg.NewPtrApiVersionsRequest())
	})
}

// TestHostileAccepted sends what is odd but answered.
func TestHostileAccepted(t *testing.T) {
	b := brokertest.Start(t)
	for name, input := range map[string][]byte{
		"H27 client id length -2":             request(3, 1, bytesOf(int16(-2), int32(0))...),
		"H28 client id of any bytes":          request(3, 1, bytesOf(int16(3), "\xff\n\x00", int32(0))...),
		"H32 bytes after the end":             request(3, 1, bytesOf(noClientID, int32(0), "trailing")...),
		"H35 array length -2 is null":         request(3, 1, bytesOf(noClientID, int32(-2))...),
		"Metadata v1, array length 0 is none": request(3, 1, bytesOf(noClientID, int32(0))...),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, b)
			c.write(input)
			resp := kmsg.NewPtrMetadataResponse()
			resp.Version = 1
			c.receive(resp, 1)
		})
	}
	t.Run("H22 software name with control bytes", func(t *testing.T) {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, "a\x00b", "1"
		if resp := ask[*kmsg.ApiVersionsResponse](dial(t, b), req); resp.ErrorCode != kerr.InvalidRequest.Code {
			t.Errorf("code %d", resp.ErrorCode)
		}
	})
}

// TestH08AnnouncedBytesAreNotAllocated: what counts is what arrives.
func TestH08AnnouncedBytesAreNotAllocated(t *testing.T) {
	b := brokertest.Start(t)
	ask[*kmsg.ApiVersionsResponse](dial(t, b), kmsg.NewPtrApiVersionsRequest())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 64 {
		c := dial(t, b)
		c.write(bytesOf(int32(100<<20), request(0, 9)[4:], make([]byte, 32<<10)))
	}
	ask[*kmsg.ApiVersionsResponse](dial(t, b), kmsg.NewPtrApiVersionsRequest())
	runtime.GC()
	runtime.ReadMemStats(&after)
	// 64 times 32 KiB came; Kafka 4.3.1 takes 6.4 GiB here.
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// TestH09CutMidFrame: what has not come whole has no effect.
func TestH09CutMidFrame(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	frame := c.frame(produceRequest(9, -1, "t", 0, records(1)))
	c.write(frame[:len(frame)-1])
	c.net.Close()
	if end := endOffset(t, b, "t"); end != 0 {
		t.Errorf("end offset is %d", end)
	}
}

// TestH41ManyAbsentTopics asks for topics that are not there.
func TestH41ManyAbsentTopics(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"auto.create.topics.enable": "false"}))
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 1
	for i := range 100_000 {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(fmt.Sprintf("absent-%060d", i))
		req.Topics = append(req.Topics, topic)
	}
	resp := ask[*kmsg.MetadataResponse](dial(t, b), req)
	if len(resp.Topics) != 100_000 || resp.Topics[77].ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("%d topics, code %d", len(resp.Topics), resp.Topics[77].ErrorCode)
	}
}

// endOffset is the high watermark of partition 0.
func endOffset(t *testing.T, b *brokertest.Broker, topic string) int64 {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 7, -1
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp = -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	out := ask[*kmsg.ListOffsetsResponse](dial(t, b), req).Topics[0].Partitions[0]
	if out.ErrorCode != 0 {
		t.Fatalf("ListOffsets of %s: code %d", topic, out.ErrorCode)
	}
	return out.Offset
}
