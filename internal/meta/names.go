package meta

import (
	"errors"
	"fmt"
	"strings"
)

// Topics that brokers keep for themselves. Clients hide them unless asked;
// MetadataTopic exists in no image and cannot be created.
const (
	OffsetsTopic      = "__consumer_offsets"
	TransactionsTopic = "__transaction_state"
	MetadataTopic     = "__cluster_metadata"
)

// MaxTopicName is the longest name of a topic, in bytes. With a partition
// number behind it a directory of Kafka's still fits a file name.
const MaxTopicName = 249

// ErrInvalidTopic is what Kafka answers with INVALID_TOPIC_EXCEPTION.
var ErrInvalidTopic = errors.New("invalid topic name")

// CheckTopicName tells whether a topic may have this name; the error wraps
// ErrInvalidTopic. Collisions are for Image.Collision.
func CheckTopicName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidTopic)
	case name == "." || name == "..":
		return fmt.Errorf("%w: it must not be %q", ErrInvalidTopic, name)
	case len(name) > MaxTopicName:
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrInvalidTopic, len(name), MaxTopicName)
	}
	for i := range len(name) {
		if !topicByte(name[i]) {
			return fmt.Errorf("%w: %q has a character other than ASCII letters, digits, '.', '_' and '-' at byte %d",
				ErrInvalidTopic, name, i)
		}
	}
	return nil
}

func topicByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '-'
}

// IsInternal tells whether the broker keeps the topic of this name for itself.
func IsInternal(name string) bool {
	return name == OffsetsTopic || name == TransactionsTopic || name == MetadataTopic
}

// fold maps names that would collide onto one.
func fold(name string) string { return strings.ReplaceAll(name, ".", "_") }
