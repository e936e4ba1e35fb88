package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// partitionSet is a set of partitions as a cell: "orders:0-2,5 audit:1" where a
// person reads it, a list of topics with their partitions in a document.
type partitionSet kadm.TopicsSet

// topicPartitions is one topic of a partitionSet.
type topicPartitions struct {
	Topic      string  `json:"topic" yaml:"topic"`
	Partitions []int32 `json:"partitions" yaml:"partitions"`
}

func (s partitionSet) list() []topicPartitions {
	out := []topicPartitions{}
	for _, t := range kadm.TopicsSet(s).Sorted() {
		out = append(out, topicPartitions{t.Topic, t.Partitions})
	}
	return out
}

func (s partitionSet) String() string {
	var words []string
	for _, t := range s.list() {
		words = append(words, t.Topic+":"+ranges(t.Partitions))
	}
	return strings.Join(words, " ")
}

// MarshalJSON is the list of topics; a set that nobody told is null.
func (s partitionSet) MarshalJSON() ([]byte, error) { return json.Marshal(s.list()) }

// MarshalYAML is that list, too.
func (s partitionSet) MarshalYAML() (any, error) { return s.list(), nil }

// sortedMarks are the partitions of a set one by one, by topic and number.
func sortedMarks(set kadm.TopicsSet) []mark {
	var out []mark
	for _, t := range set.Sorted() {
		for _, p := range t.Partitions {
			out = append(out, mark{t.Topic, p})
		}
	}
	return out
}

// ranges writes ascending numbers as "0-2,5".
func ranges(numbers []int32) string {
	var words []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		word := strconv.Itoa(int(numbers[i]))
		if j > i {
			word += "-" + strconv.Itoa(int(numbers[j]))
		}
		words = append(words, word)
		i = j + 1
	}
	return strings.Join(words, ",")
}

// scope is what --topic and --all-topics choose: topics, each with the partitions
// that were named or, without any, all.
type scope struct {
	all        bool
	partitions map[string][]int32 // of topics that were named
}

// parseScope reads the values of --topic, each TOPIC or TOPIC:P,P-P.
func parseScope(topics []string, all bool) (scope, error) {
	if all && len(topics) > 0 {
		return scope{}, usagef("--topic and --all-topics exclude each other")
	}
	s := scope{all: all, partitions: map[string][]int32{}}
	for _, value := range topics {
		topic, list, some := strings.Cut(value, ":")
		if topic == "" {
			return scope{}, usagef("--topic %q: want TOPIC or TOPIC:PARTITION,PARTITION", value)
		}
		if _, twice := s.partitions[topic]; twice {
			return scope{}, usagef("--topic %s is given twice: name its partitions with commas, %[1]s:0,1", topic)
		}
		s.partitions[topic] = nil
		if some {
			numbers, err := parseNumbers(list)
			if err != nil {
				return scope{}, usagef("--topic %s: %w", value, err)
			}
			s.partitions[topic] = numbers
		}
	}
	return s, nil
}

// maxPartitions bounds what a range of partitions may name.
const maxPartitions = 1 << 20

// parseNumbers reads "0,2-4", ascending or not, each number once.
func parseNumbers(list string) ([]int32, error) {
	var out []int32
	for _, word := range strings.Split(list, ",") {
		low, high, ranged := strings.Cut(word, "-")
		if !ranged {
			high = low
		}
		from, err := strconv.ParseUint(low, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("%q is no number of a partition", low)
		}
		to, err := strconv.ParseUint(high, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("%q is no number of a partition", high)
		}
		if to < from || to-from >= maxPartitions {
			return nil, fmt.Errorf("%s is no range of partitions", word)
		}
		for p := from; p <= to; p++ {
			out = append(out, int32(p))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// narrow is whether the scope names anything.
func (s scope) narrow() bool { return len(s.partitions) > 0 }

// topics are the names of the topics that were named, sorted.
func (s scope) topics() []string {
	var names []string
	for name := range s.partitions {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// holds is whether a partition is meant.
func (s scope) holds(topic string, partition int32) bool {
	if !s.narrow() {
		return true
	}
	some, ok := s.partitions[topic]
	return ok && (len(some) == 0 || slices.Contains(some, partition))
}

// noPartition says what is missing, when the broker has told the ends of the log
// of other partitions, or that there is no such topic.
func noPartition(topic string, partition int32, ends kadm.ListedOffsets) error {
	if _, none := ends[topic][-1]; none || len(ends[topic]) == 0 {
		return fmt.Errorf("there is no topic %q: %w", topic, &shortError{kerr.UnknownTopicOrPartition})
	}
	return fmt.Errorf("topic %s has no partition %d: %w", topic, partition, &shortError{kerr.UnknownTopicOrPartition})
}
