package meta

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// TopicConfig holds those settings of a topic that weir acts on, with the
// broker's defaults behind what the topic does not say.
type TopicConfig struct {
	SegmentBytes             int64
	MaxMessageBytes          int
	IndexIntervalBytes       int64
	LogAppendTime            bool  // message.timestamp.type
	TimestampBeforeMaxMillis int64 // message.timestamp.before.max.ms
	TimestampAfterMaxMillis  int64 // message.timestamp.after.max.ms
	Compact                  bool  // cleanup.policy holds compact: records need keys
	Delete                   bool  // cleanup.policy holds delete: retention holds
	RetentionMillis          int64 // retention.ms; -1: no limit
	RetentionBytes           int64 // retention.bytes; -1: no limit
	SegmentMillis            int64 // segment.ms
	SegmentJitterMillis      int64 // segment.jitter.ms
	SegmentIndexBytes        int64 // segment.index.bytes
	FileDeleteDelayMillis    int64 // file.delete.delay.ms
	MinCleanableDirtyRatio   float64
	MinCompactionLagMillis   int64 // min.compaction.lag.ms
	MaxCompactionLagMillis   int64 // max.compaction.lag.ms
	DeleteRetentionMillis    int64 // delete.retention.ms
}

// ParseTopicConfigs tells whether a topic may have these settings. The error
// wraps ErrInvalidConfig and names key, value and what is allowed; for an
// unknown key it lists the nearest ones. If several are bad the first by name
// is told.
func ParseTopicConfigs(configs map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		d := definition(topicSettings, name)
		if d == nil {
			return errUnknown("topic setting", name, settingNames(topicSettings))
		}
		if err := d.rule.check(name, configs[name]); err != nil {
			return err
		}
	}
	return nil
}

// TopicConfig returns the settings in force for a topic with these configs. It
// fails only for configs that ParseTopicConfigs refuses.
func (s *Settings) TopicConfig(configs map[string]string) (TopicConfig, error) {
	if err := ParseTopicConfigs(configs); err != nil {
		return TopicConfig{}, err
	}
	value := func(name string) string {
		if v, ok := configs[name]; ok {
			return v
		}
		return s.topicDefault(definition(topicSettings, name)).value
	}
	number := func(name string) int64 {
		n, err := strconv.ParseInt(value(name), 10, 64)
		if err != nil {
			panic(fmt.Sprintf("setting %s was checked, yet: %v", name, err))
		}
		return n
	}
	lag, most := number("min.compaction.lag.ms"), number("max.compaction.lag.ms")
	if lag > most {
		return TopicConfig{}, fmt.Errorf("%w: min.compaction.lag.ms (%d) is larger than max.compaction.lag.ms (%d)",
			ErrInvalidConfig, lag, most)
	}
	policy := splitList(value("cleanup.policy"))
	ratio, err := strconv.ParseFloat(value("min.cleanable.dirty.ratio"), 64)
	if err != nil {
		panic(fmt.Sprintf("setting min.cleanable.dirty.ratio was checked, yet: %v", err))
	}
	return TopicConfig{
		SegmentBytes:             number("segment.bytes"),
		MaxMessageBytes:          int(number("max.message.bytes")),
		IndexIntervalBytes:       number("index.interval.bytes"),
		LogAppendTime:            value("message.timestamp.type") == "LogAppendTime",
		TimestampBeforeMaxMillis: number("message.timestamp.before.max.ms"),
		TimestampAfterMaxMillis:  number("message.timestamp.after.max.ms"),
		Compact:                  slices.Contains(policy, "compact"),
		Delete:                   slices.Contains(policy, "delete"),
		RetentionMillis:          number("retention.ms"),
		RetentionBytes:           number("retention.bytes"),
		SegmentMillis:            number("segment.ms"),
		SegmentJitterMillis:      number("segment.jitter.ms"),
		SegmentIndexBytes:        number("segment.index.bytes"),
		FileDeleteDelayMillis:    number("file.delete.delay.ms"),
		MinCleanableDirtyRatio:   ratio,
		MinCompactionLagMillis:   lag,
		MaxCompactionLagMillis:   most,
		DeleteRetentionMillis:    number("delete.retention.ms"),
	}, nil
}

// origin is a default of a topic setting and the broker setting it is from.
type origin struct {
	value  string
	broker string // "" if it is Kafka's default
}

// topicDefault finds the broker setting that decides. Kafka has several for
// some: milliseconds go before minutes, minutes before hours.
func (s *Settings) topicDefault(d *topicSetting) origin {
	for _, b := range d.brokers {
		if v, ok := s.given[b.name]; ok {
			if b.factor > 1 {
				return origin{scale(v, b.factor), b.name}
			}
			return origin{v, b.name}
		}
	}
	return origin{value: d.def}
}

// scale turns hours or minutes into milliseconds; negative values mean "no
// limit" whatever their unit.
func scale(value string, factor int64) string {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return "-1"
	}
	return strconv.FormatInt(n*factor, 10)
}
