package broker_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// patched makes a good batch and changes it; the checksum fits again after that.
func patched(change func(b []byte)) []byte {
	b := []byte(records(1))
	change(b)
	if len(b) > 21 {
		binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	}
	return b
}

// TestHostileBatches: the codes are those of Apache Kafka 4.3.1, but for H69,
// which Kafka never answers.
func TestHostileBatches(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	wrongCRC := []byte(records(1))
	wrongCRC[17] ^= 1
	put32 := func(at int, v uint32) []byte {
		return patched(func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) })
	}
	attributes := func(v uint16) []byte {
		return patched(func(b []byte) { binary.BigEndian.PutUint16(b[21:], v) })
	}
	large := batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: time.Now().UnixMilli(), Value: make([]byte, 2<<20)})
	for name, tc := range map[string]struct {
		records []byte
		want    *kerr.Error
	}{
		"H44 wrong CRC":                        {wrongCRC, kerr.CorruptMessage},
		"H45 magic 0":                          {patched(func(b []byte) { b[16] = 0 }), kerr.InvalidRecord},
		"H46 magic 1":                          {patched(func(b []byte) { b[16] = 1 }), kerr.InvalidRecord},
		"H47 magic 3":                          {patched(func(b []byte) { b[16] = 3 }), kerr.CorruptMessage},
		"H48 magic -1":                         {patched(func(b []byte) { b[16] = 0xff }), kerr.CorruptMessage},
		"H49 length beyond the field":          {put32(8, 1<<20), kerr.InvalidRecord},
		"H50 batch length -1":                  {put32(8, 1<<32-1), kerr.CorruptMessage},
		"H51 batch length 3":                   {put32(8, 3), kerr.CorruptMessage},
		"H52 record count 2^31-1":              {put32(57, 1<<31-1), kerr.InvalidRecord},
		"H53 record count -1":                  {put32(57, 1<<32-1), kerr.InvalidRecord},
		"H54 last offset delta too large":      {put32(23, 5), kerr.InvalidRecord},
		"H55 last offset delta negative":       {put32(23, 1<<32-1), kerr.InvalidRecord},
		"H56 zero records":                     {patched(func(b []byte) { clear(b[57:61]) }), kerr.InvalidRecord},
		"H57 record longer than the batch":     {patched(func(b []byte) { b[61] = 0x7e }), kerr.InvalidRecord},
		"H59 control bit":                      {attributes(0x20), kerr.InvalidRecord},
		"H60 transactional, no id":             {transactional(), kerr.TransactionalIDAuthorizationFailed},
		"H62 producer id with sequence -1":     {sequenced(7, -1), kerr.InvalidRecord},
		"H63 codec 7":                          {attributes(7), kerr.UnknownServerError},
		"H65 two batches":                      {append(records(1), records(1)...), kerr.InvalidRecord},
		"H66 timestamp 100 years ahead":        {ahead(), kerr.InvalidTimestamp},
		"H67 record of 2 MiB":                  {large, kerr.MessageTooLarge},
		"H69 null records":                     {nil, kerr.InvalidRecord},
		"empty records":                        {[]byte{}, kerr.InvalidRecord},
		"H70 12 stray bytes":                   {make([]byte, 12), kerr.CorruptMessage},
		"LogAppendTime is the broker's to set": {attributes(8), kerr.InvalidTimestamp},
	} {
		t.Run(name, func(t *testing.T) {
			p := produced(ask[*kmsg.ProduceResponse](dial(t, b), produceRequest(7, -1, "t", 0, tc.records)))
			if p.ErrorCode != tc.want.Code {
				t.Errorf("code %d, want %s (%d)", p.ErrorCode, tc.want.Message, tc.want.Code)
			}
			if p.BaseOffset != -1 || p.LogAppendTime != -1 {
				t.Errorf("base offset %d, append time %d, want -1", p.BaseOffset, p.LogAppendTime)
			}
		})
	}
	if end := endOffset(t, b, "t"); end != 0 {
		t.Errorf("%d records were appended", end)
	}
}

func transactional() []byte {
	return batch.Build(batch.BuildOptions{Producer: &batch.Producer{ID: 7}, Transactional: true},
		batch.Record{Timestamp: time.Now().UnixMilli()})
}

func ahead() []byte {
	return batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: time.Now().AddDate(100, 0, 0).UnixMilli()})
}

// TestProduceEveryVersion appends with each version, by name and by id.
func TestProduceEveryVersion(t *testing.T) {
	b := brokertest.Start(t)
	id := createTopic(t, b, "t", 1)
	c := dial(t, b)
	for v := int16(3); v <= 13; v++ {
		req := produceRequest(v, -1, "t", 0, records(2))
		req.Topics[0].TopicID = id
		resp := ask[*kmsg.ProduceResponse](c, req)
		p := produced(resp)
		if p.ErrorCode != 0 || p.BaseOffset != int64(2*(v-3)) {
			t.Errorf("v%d: code %d, base offset %d", v, p.ErrorCode, p.BaseOffset)
		}
		if v >= 13 && resp.Topics[0].TopicID != id || v < 13 && resp.Topics[0].Topic != "t" {
			t.Errorf("v%d: answer names topic %q %x", v, resp.Topics[0].Topic, resp.Topics[0].TopicID)
		}
		if v >= 5 && p.LogStartOffset != 0 {
			t.Errorf("v%d: log start %d", v, p.LogStartOffset)
		}
	}
}

func TestProduceRefusals(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	unknownID := produceRequest(13, -1, "", 0, records(1))
	unknownID.Topics[0].TopicID = [16]byte{1, 2, 3}
	for name, tc := range map[string]struct {
		req  *kmsg.ProduceRequest
		want *kerr.Error
	}{
		"H68 acks=2":        {produceRequest(7, 2, "t", 0, records(1)), kerr.InvalidRequiredAcks},
		"unknown topic":     {produceRequest(9, -1, "absent", 0, records(1)), kerr.UnknownTopicOrPartition},
		"unknown partition": {produceRequest(9, -1, "t", 1, records(1)), kerr.UnknownTopicOrPartition},
		"partition -1":      {produceRequest(9, -1, "t", -1, records(1)), kerr.UnknownTopicOrPartition},
		"unknown topic id":  {unknownID, kerr.UnknownTopicID},
	} {
		t.Run(name, func(t *testing.T) {
			if p := produced(ask[*kmsg.ProduceResponse](dial(t, b), tc.req)); p.ErrorCode != tc.want.Code {
				t.Errorf("code %d, want %d", p.ErrorCode, tc.want.Code)
			}
		})
	}
}

// TestInternalTopicsRefuseClients: their records are the coordinator's alone.
func TestInternalTopicsRefuseClients(t *testing.T) {
	b := brokertest.Start(t)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKey = 3, "g"
	ask[*kmsg.FindCoordinatorResponse](dial(t, b), find)
	p := produced(ask[*kmsg.ProduceResponse](dial(t, b), produceRequest(9, -1, "__consumer_offsets", 0, records(1))))
	if p.ErrorCode != kerr.InvalidTopicException.Code {
		t.Errorf("code %d", p.ErrorCode)
	}
}

func TestLogAppendTime(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1, "message.timestamp.type", "LogAppendTime")
	c := dial(t, b)
	begun := time.Now().UnixMilli()
	p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, ahead())))
	if p.ErrorCode != 0 || p.LogAppendTime < begun {
		t.Fatalf("code %d, append time %d", p.ErrorCode, p.LogAppendTime)
	}
	stored := batch.Batch(fetched(ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", 0, 0))).RecordBatches)
	if !stored.LogAppendTime() || stored.MaxTimestamp() != p.LogAppendTime || stored.CheckCRC() != nil {
		t.Errorf("stored: append time %v, largest timestamp %d, %v", stored.LogAppendTime(), stored.MaxTimestamp(), stored.CheckCRC())
	}
}

// TestIdempotentWindow: a batch sent again is answered with its own offset, one
// from the future is refused (KIP-98); H61: an unknown producer may begin anywhere.
func TestIdempotentWindow(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	send := func(sequence int32) kmsg.ProduceResponseTopicPartition {
		return produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, sequenced(7, sequence))))
	}
	for i := range int32(5) {
		if p := send(77 + i); p.ErrorCode != 0 || p.BaseOffset != int64(i) {
			t.Fatalf("sequence %d: code %d, offset %d", 77+i, p.ErrorCode, p.BaseOffset)
		}
	}
	for i := range int32(5) {
		if p := send(77 + i); p.ErrorCode != 0 || p.BaseOffset != int64(i) {
			t.Errorf("again %d: code %d, offset %d", 77+i, p.ErrorCode, p.BaseOffset)
		}
	}
	if p := send(90); p.ErrorCode != kerr.OutOfOrderSequenceNumber.Code {
		t.Errorf("a gap: code %d", p.ErrorCode)
	}
	if end := endOffset(t, b, "t"); end != 5 {
		t.Errorf("end offset %d", end)
	}
}

// TestProducerIDsAreNeverGivenTwice, neither after a power cut.
func TestProducerIDsAreNeverGivenTwice(t *testing.T) {
	b := brokertest.Start(t)
	seen := map[int64]bool{}
	for round := range 3 {
		c := dial(t, b)
		for range 1100 {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.Version = 4
			resp := ask[*kmsg.InitProducerIDResponse](c, req)
			if resp.ErrorCode != 0 || seen[resp.ProducerID] {
				t.Fatalf("code %d, id %d", resp.ErrorCode, resp.ProducerID)
			}
			seen[resp.ProducerID] = true
		}
		b.Crash(uint64(round))
	}
}

func TestInitProducerIDRefusals(t *testing.T) {
	b := brokertest.Start(t)
	for name, tc := range map[string]struct {
		id      string
		timeout int32
		want    *kerr.Error
	}{
		"before the first FindCoordinator": {"tx", 1000, kerr.NotCoordinator},
		"H107 timeout 2^31-1":              {"tx", 1<<31 - 1, kerr.InvalidTransactionTimeout},
		"H108 timeout -1":                  {"tx", -1, kerr.InvalidTransactionTimeout},
		"H109 empty transactional id":      {"", 1000, kerr.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 4, &tc.id, tc.timeout
			if resp := ask[*kmsg.InitProducerIDResponse](dial(t, b), req); resp.ErrorCode != tc.want.Code {
				t.Errorf("code %d, want %d", resp.ErrorCode, tc.want.Code)
			}
		})
	}
}

// TestPitfall11AcksZero: no answer, the next answers go on; an error closes.
func TestPitfall11AcksZero(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	for range 3 {
		c.send(produceRequest(9, 0, "t", 0, records(1)))
	}
	if p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, records(1)))); p.BaseOffset != 3 {
		t.Errorf("base offset %d", p.BaseOffset)
	}
	c.send(produceRequest(9, 0, "t", 5, records(1)))
	c.wantClosed()
}

// TestFailedSyncIsToldToProducers: KAFKA_STORAGE_ERROR, never a success.
func TestFailedSyncIsToldToProducers(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	b.Files().Add(vfs.Rule{Op: vfs.OpSync, Err: syscall.EIO})
	c := dial(t, b)
	p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, records(1))))
	if p.ErrorCode != kerr.KafkaStorageError.Code || p.BaseOffset != -1 {
		t.Errorf("code %d, base offset %d", p.ErrorCode, p.BaseOffset)
	}
	<-b.Broker().Failed()
	if err := b.Broker().Err(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Err is %v", err)
	}
	p = produced(ask[*kmsg.ProduceResponse](c, produceRequest(3, -1, "t", 0, records(1))))
	if p.ErrorCode != kerr.NotLeaderForPartition.Code {
		t.Errorf("v3, which does not know KAFKA_STORAGE_ERROR: code %d", p.ErrorCode)
	}
}

// TestFailedSyncInEveryVersion: the code is one that the version knows, and what
// was said of success is taken back.
func TestFailedSyncInEveryVersion(t *testing.T) {
	for version, want := range map[int16]*kerr.Error{3: kerr.NotLeaderForPartition, 4: kerr.KafkaStorageError, 8: kerr.KafkaStorageError, 9: kerr.KafkaStorageError} {
		b := brokertest.Start(t)
		createTopic(t, b, "t", 1)
		b.Files().Add(vfs.Rule{Op: vfs.OpSync, Err: syscall.EIO})
		p := produced(ask[*kmsg.ProduceResponse](dial(t, b), produceRequest(version, -1, "t", 0, records(1))))
		if p.ErrorCode != want.Code || p.BaseOffset != -1 {
			t.Errorf("v%d: code %d, base offset %d", version, p.ErrorCode, p.BaseOffset)
		}
	}
}

// TestFullDiskIsRetriable: nothing is lost and reads go on.
func TestFullDiskIsRetriable(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	mustProduce(t, c, "t", 1)
	b.Files().Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Err: syscall.ENOSPC})
	if p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, records(1)))); p.ErrorCode != kerr.KafkaStorageError.Code {
		t.Errorf("code %d", p.ErrorCode)
	}
	if p := fetched(ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", 0, 0))); p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
		t.Errorf("read: code %d, %d bytes", p.ErrorCode, len(p.RecordBatches))
	}
}
