package group

// consumerProtocol is the protocol type whose metadata and assignments the
// broker can read: that of consumers. All others are the clients' own.
const consumerProtocol = "consumer"

// topicReader walks the part of the consumer protocol that all its versions begin
// with: a version, and an array of topics, each with its partitions in an
// assignment, without in a subscription. What it is given is a client's: nothing
// is allocated, and err is set when the bytes end too early.
type topicReader struct {
	decoder
	version int16
	left    int32 // topics
}

func readTopics(b []byte) topicReader {
	r := topicReader{decoder: decoder{b: b}}
	r.version = r.int16()
	if r.left = r.int32(); r.left < 0 {
		r.fail()
	}
	return r
}

// topic is the next topic's name; false at the end, good or bad.
func (r *topicReader) topic() ([]byte, bool) {
	if r.left <= 0 || r.err != nil {
		return nil, false
	}
	r.left--
	name := r.take(int(r.int16()))
	return name, r.err == nil
}

// partitions are those of the topic of an assignment, four bytes each.
func (r *topicReader) partitions() []byte {
	n := int64(r.int32()) * 4
	if n < 0 || n > int64(len(r.b)) {
		n = -1
	}
	return r.take(int(n))
}

// usesConsumerProtocol tells whether the members' metadata are subscriptions.
func (g *group) usesConsumerProtocol() bool { return g.protocolType == consumerProtocol }

// subscriptions are the topics to which members are subscribed; false if that is
// not known: it is of a group of consumers, unless the metadata of one cannot be
// read, or the group has not agreed on a protocol yet.
func (g *group) subscriptions() (map[string]bool, bool) {
	if !g.usesConsumerProtocol() || len(g.members) > 0 && g.protocol == "" {
		return nil, false
	}
	topics := map[string]bool{}
	for _, m := range g.members {
		r := readTopics(m.metadata(g.protocol))
		for name, ok := r.topic(); ok; name, ok = r.topic() {
			if !topics[string(name)] {
				topics[string(name)] = true
			}
		}
		if r.err != nil {
			return nil, false
		}
	}
	return topics, true
}

// needed is a test for topics whose offsets must stay because members need them. A
// group of consumers that cannot be read needs them all.
func (g *group) needed() func(topic string) bool {
	if g.consumer != nil {
		topics := g.consumer.subscriptions()
		return func(topic string) bool { return topics[topic] }
	}
	topics, known := g.subscriptions()
	unreadable := !known && g.usesConsumerProtocol()
	return func(topic string) bool { return topics[topic] || unreadable }
}
