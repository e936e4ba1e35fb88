package assignor

// A TopicID is the id of a topic, as in Metadata.
type TopicID = [16]byte

// A Member is one member of a group as an assignor sees it.
type Member struct {
	Instance string               // group.instance.id, "" when the member is dynamic
	Rack     string               // client.rack; no assignor asks for it so far
	Topics   map[TopicID]struct{} // what it subscribes to; those not in Spec.Partitions are passed over
	Owned    map[TopicID][]int32  // its part of the current target, each list ascending
}

// A Spec is a group whose partitions shall be assigned.
type Spec struct {
	Members    map[string]Member // by member id
	Partitions map[TopicID]int32 // how many partitions each topic has
}

// An Assignment says for every member of a Spec which partitions it shall have,
// each list ascending. It shares nothing with the Spec.
type Assignment map[string]map[TopicID][]int32

// Names returns the names of all assignors, the one that Kafka uses by default
// first.
func Names() []string { return []string{"uniform", "range"} }

// Find returns the assignor of a name.
func Find(name string) (func(Spec) Assignment, bool) {
	switch name {
	case "uniform":
		return uniform, true
	case "range":
		return ranges, true
	}
	return nil, false
}
