package weir

// Stats is a snapshot of an App's work since New.
type Stats struct {
	Topics map[string]TopicStats // one for each Handle
}

// TopicStats counts a handled topic's records in this App.
type TopicStats struct {
	Handled      int64 // finished, dead letters included
	Retried      int64 // attempts after the first
	DeadLettered int64 // acknowledged dead letters
	Partitions   map[int32]PartitionStats
}

// PartitionStats is the state of one partition assigned to this App.
type PartitionStats struct {
	Position int64 // the offset after the contiguous run of finished records; -1 before the first record came
	Lag      int64 // records from Position to the end known from the last fetch; 0 before the first record came
	Queued   int   // fetched records that wait for the handler; exact to the 256 that a worker takes at once
	InFlight int   // records begun and not finished, or finished behind such a one
	Paused   bool  // fetching rests until the queue is worked off
}
