package meta

// Source says where a value comes from, by Kafka's numbers in DescribeConfigs.
type Source int8

// The sources in use.
const (
	DynamicTopic Source = 1 // given for the topic
	DynamicGroup Source = 8 // given for the consumer group
	StaticBroker Source = 4 // given to the broker at its start
	Default      Source = 5
)

// Entry is one setting as DescribeConfigs and the documentation show it.
type Entry struct {
	Name     string
	Value    string
	Source   Source
	Kind     Kind
	ReadOnly bool // cannot be changed while the broker runs
	Doc      string
	Allowed  string // for people: which values are allowed
	Default  string // Kafka's default, or weir's where the documentation says so
	// Synonyms are all places the value could come from, the strongest first,
	// as far as something is set there; the first is the one in force.
	Synonyms []Synonym
}

// Synonym is one place that a setting has a value in.
type Synonym struct {
	Name   string
	Value  string
	Source Source
}

// DescribeTopic lists all settings of a topic with these configs, sorted by
// name.
func (s *Settings) DescribeTopic(configs map[string]string) []Entry {
	out := make([]Entry, 0, len(topicSettings))
	for i := range topicSettings {
		d := &topicSettings[i]
		o := s.topicDefault(d)
		e := Entry{Name: d.name, Value: o.value, Source: Default, Kind: d.rule.kind, Doc: d.doc, Allowed: d.rule.allowed, Default: d.def}
		if v, ok := configs[d.name]; ok {
			e.Value, e.Source = v, DynamicTopic
			e.Synonyms = append(e.Synonyms, Synonym{d.name, v, DynamicTopic})
		}
		if o.broker != "" {
			if e.Source == Default {
				e.Source = StaticBroker
			}
			e.Synonyms = append(e.Synonyms, Synonym{o.broker, s.given[o.broker], StaticBroker})
		}
		// Kafka shows its own default as a synonym only where one setting of the
		// broker stands behind the topic's.
		if len(d.brokers) == 1 {
			e.Synonyms = append(e.Synonyms, Synonym{d.brokers[0].name, d.def, Default})
		}
		out = append(out, e)
	}
	return out
}

// DescribeGroup lists all settings of a consumer group with these configs, sorted by
// name.
func (s *Settings) DescribeGroup(configs map[string]string) []Entry {
	out := make([]Entry, 0, len(groupSettings))
	for i := range groupSettings {
		d := &groupSettings[i]
		e := Entry{Name: d.name, Value: d.def, Source: Default, Kind: d.rule.kind, Doc: d.doc, Allowed: d.rule.allowed, Default: d.def}
		static, isStatic := s.given[d.broker]
		if isStatic {
			e.Value, e.Source = static, StaticBroker
		}
		if v, ok := configs[d.name]; ok {
			e.Value, e.Source = v, DynamicGroup
			e.Synonyms = append(e.Synonyms, Synonym{d.name, v, DynamicGroup})
		}
		if isStatic {
			e.Synonyms = append(e.Synonyms, Synonym{d.broker, static, StaticBroker})
		}
		e.Synonyms = append(e.Synonyms, Synonym{d.broker, d.def, Default})
		out = append(out, e)
	}
	return out
}

// Describe lists all settings of the broker, sorted by name.
func (s *Settings) Describe() []Entry {
	out := make([]Entry, 0, len(settings))
	for i := range settings {
		d := &settings[i]
		e := Entry{Name: d.name, Value: d.def, Source: Default, Kind: d.rule.kind, ReadOnly: true, Doc: d.doc, Allowed: d.rule.allowed, Default: d.def}
		if v, ok := s.given[d.name]; ok {
			e.Value, e.Source = v, StaticBroker
			e.Synonyms = append(e.Synonyms, Synonym{d.name, v, StaticBroker})
		}
		e.Synonyms = append(e.Synonyms, Synonym{d.name, d.def, Default})
		out = append(out, e)
	}
	return out
}
