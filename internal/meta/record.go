package meta

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Record is one durable fact in __cluster_metadata: TopicRecord,
// TopicDeletedRecord, TopicConfigsRecord, TopicPartitionsRecord, GroupConfigsRecord,
// ProducerIDsRecord, ClusterRecord or LogStartRecord, by value.
type Record interface {
	recordType() string
	check() error
}

// TopicRecord: a topic was created.
type TopicRecord struct {
	Name       string
	ID         [16]byte
	Partitions int32
	Configs    map[string]string // may be nil
}

// TopicDeletedRecord: a topic was deleted. The name is there for readers of the
// log; the id says which.
type TopicDeletedRecord struct {
	Name string
	ID   [16]byte
}

// ProducerIDsRecord: all producer ids below Next are reserved. It is durable
// before an id of the block is given out, so that no id is given twice.
type ProducerIDsRecord struct {
	Next int64
}

// ClusterRecord: the cluster's id, written at the first start.
type ClusterRecord struct {
	ClusterID string
}

// LogStartRecord: the logs of some partitions of a topic begin at higher offsets
// from now on. It is durable before a record below them is out of reach, so that
// none comes back. An offset below one that was told before changes nothing.
type LogStartRecord struct {
	ID     [16]byte
	Starts []LogStart
}

// LogStart is the first offset of a partition's log.
type LogStart struct {
	Partition int32
	Offset    int64
}

func (TopicRecord) recordType() string        { return "topic" }
func (TopicDeletedRecord) recordType() string { return "topic-deleted" }
func (ProducerIDsRecord) recordType() string  { return "producer-ids" }
func (ClusterRecord) recordType() string      { return "cluster" }
func (LogStartRecord) recordType() string     { return "log-start" }

func (r TopicRecord) check() error {
	if r.Partitions < 1 {
		return fmt.Errorf("topic %q has %d partitions", r.Name, r.Partitions)
	}
	if r.ID == ([16]byte{}) {
		return fmt.Errorf("topic %q has no id", r.Name)
	}
	return CheckTopicName(r.Name)
}

func (r TopicDeletedRecord) check() error {
	if r.ID == ([16]byte{}) {
		return fmt.Errorf("deleted topic %q has no id", r.Name)
	}
	return CheckTopicName(r.Name)
}

func (r ProducerIDsRecord) check() error {
	if r.Next < 0 {
		return fmt.Errorf("next producer id is %d", r.Next)
	}
	return nil
}

func (r ClusterRecord) check() error {
	if r.ClusterID == "" {
		return errors.New("cluster id is empty")
	}
	return nil
}

func (r LogStartRecord) check() error {
	if r.ID == ([16]byte{}) {
		return errors.New("log starts of a topic without id")
	}
	if len(r.Starts) == 0 {
		return errors.New("no log starts")
	}
	for _, s := range r.Starts {
		if s.Partition < 0 || s.Offset < 0 {
			return fmt.Errorf("log of partition %d starts at %d", s.Partition, s.Offset)
		}
	}
	return nil
}

// recordVersion is the version of every record's value. It is raised with any
// change of the fields, so that an older weir refuses what it cannot know.
const recordVersion = 1

// ErrBadRecord: the key or the value of a metadata record cannot be read.
var ErrBadRecord = errors.New("unreadable metadata record")

// UnknownRecordError: a record was written by a newer weir.
type UnknownRecordError struct {
	Type    string // the record's key
	Version int    // 0 if the type itself is unknown
}

func (e *UnknownRecordError) Error() string {
	if e.Version == 0 {
		return fmt.Sprintf("metadata record of unknown type %q: this data was written by a newer weir", e.Type)
	}
	return fmt.Sprintf("metadata record %q has version %d, this weir knows version %d: this data was written by a newer weir",
		e.Type, e.Version, recordVersion)
}

// FormatID is a topic id as Kafka prints it: base64 for URLs, 22 characters.
func FormatID(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// ParseID reads what FormatID writes.
func ParseID(s string) ([16]byte, error) {
	var id [16]byte
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%q is no id of 22 characters in base64", s)
	}
	return [16]byte(b), nil
}

// body is the value of every record type: those fields that a type does not
// have are left out.
type body struct {
	Version    int               `json:"v"`
	Name       string            `json:"name,omitempty"`
	ID         string            `json:"id,omitempty"`
	Partitions int32             `json:"partitions,omitempty"`
	Configs    map[string]string `json:"configs,omitempty"`
	Next       int64             `json:"next,omitempty"`
	ClusterID  string            `json:"clusterId,omitempty"`
	Starts     [][]int64         `json:"starts,omitempty"` // pairs of partition and offset
}

// Encode returns the key and the value of the record in __cluster_metadata; see
// doc/format/metadata-log.md.
func Encode(r Record) (key, value []byte) {
	b := body{Version: recordVersion}
	switch r := r.(type) {
	case TopicRecord:
		b.Name, b.ID, b.Partitions, b.Configs = r.Name, FormatID(r.ID), r.Partitions, r.Configs
	case TopicDeletedRecord:
		b.Name, b.ID = r.Name, FormatID(r.ID)
	case TopicConfigsRecord:
		b.Name, b.ID, b.Configs = r.Name, FormatID(r.ID), r.Configs
	case TopicPartitionsRecord:
		b.Name, b.ID, b.Partitions = r.Name, FormatID(r.ID), r.Partitions
	case GroupConfigsRecord:
		b.Name, b.Configs = r.Name, r.Configs
	case ProducerIDsRecord:
		b.Next = r.Next
	case ClusterRecord:
		b.ClusterID = r.ClusterID
	case LogStartRecord:
		b.ID = FormatID(r.ID)
		for _, s := range r.Starts {
			b.Starts = append(b.Starts, []int64{int64(s.Partition), s.Offset})
		}
	}
	value, err := json.Marshal(b)
	if err != nil {
		panic(fmt.Sprintf("encode metadata record %q: %v", r.recordType(), err))
	}
	return []byte(r.recordType()), value
}

// Decode reads one record of __cluster_metadata. Errors: *UnknownRecordError
// for what a newer weir wrote, ErrBadRecord for everything else.
func Decode(key, value []byte) (Record, error) {
	switch string(key) {
	case "topic", "topic-deleted", "topic-configs", "topic-partitions", "group-configs", "producer-ids", "cluster", "log-start":
	default:
		return nil, &UnknownRecordError{Type: string(key)}
	}
	var version struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(value, &version); err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrBadRecord, key, err)
	}
	if version.Version > recordVersion {
		return nil, &UnknownRecordError{Type: string(key), Version: version.Version}
	}
	if version.Version < 1 {
		return nil, fmt.Errorf("%w: %q: version %d", ErrBadRecord, key, version.Version)
	}
	r, err := decodeBody(string(key), value)
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrBadRecord, key, err)
	}
	return r, nil
}

func decodeBody(key string, value []byte) (Record, error) {
	var b body
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("bytes follow the value")
	}
	var id [16]byte
	if strings.HasPrefix(key, "topic") || key == "log-start" {
		var err error
		if id, err = ParseID(b.ID); err != nil {
			return nil, err
		}
	}
	switch key {
	case "topic":
		return TopicRecord{Name: b.Name, ID: id, Partitions: b.Partitions, Configs: b.Configs}, nil
	case "topic-deleted":
		return TopicDeletedRecord{Name: b.Name, ID: id}, nil
	case "topic-configs":
		return TopicConfigsRecord{Name: b.Name, ID: id, Configs: b.Configs}, nil
	case "topic-partitions":
		return TopicPartitionsRecord{Name: b.Name, ID: id, Partitions: b.Partitions}, nil
	case "group-configs":
		return GroupConfigsRecord{Name: b.Name, Configs: b.Configs}, nil
	case "producer-ids":
		return ProducerIDsRecord{Next: b.Next}, nil
	case "log-start":
		starts, err := decodeStarts(b.Starts)
		return LogStartRecord{ID: id, Starts: starts}, err
	}
	return ClusterRecord{ClusterID: b.ClusterID}, nil
}

func decodeStarts(pairs [][]int64) ([]LogStart, error) {
	starts := make([]LogStart, 0, len(pairs))
	for _, pair := range pairs {
		if len(pair) != 2 || pair[0] != int64(int32(pair[0])) {
			return nil, fmt.Errorf("%v is no partition with an offset", pair)
		}
		starts = append(starts, LogStart{int32(pair[0]), pair[1]})
	}
	return starts, nil
}
