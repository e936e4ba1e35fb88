package group

import "time"

// MigrationPolicy says which groups may change their protocol while they have
// members (group.consumer.migration.policy).
type MigrationPolicy int

// The policies, named as Kafka names them.
const (
	MigrationBidirectional MigrationPolicy = iota // both ways
	MigrationUpgrade                              // from classic to consumer only
	MigrationDowngrade                            // from consumer to classic only
	MigrationDisabled                             // neither
)

func (p MigrationPolicy) upgrades() bool {
	return p == MigrationBidirectional || p == MigrationUpgrade
}

func (p MigrationPolicy) downgrades() bool {
	return p == MigrationBidirectional || p == MigrationDowngrade
}

// ConsumerConfig holds the settings of consumer groups (KIP-848), those of the
// broker named group.consumer.*. What is zero has the value in brackets, Kafka's
// default except for MaxSize (Kafka has no limit).
type ConsumerConfig struct {
	SessionTimeout     time.Duration // [45 s] after which a silent member is fenced
	HeartbeatInterval  time.Duration // [5 s] told to members of groups that are stable and not small
	AssignmentInterval time.Duration // [none] at least between two assignments of a group
	MaxSize            int           // [1,000] members of a group
	Assignors          []string      // [uniform, range] that may be named; the first is the default
	Migration          MigrationPolicy
}

func (c ConsumerConfig) withDefaults() ConsumerConfig {
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 45 * time.Second
	}
	if c.HeartbeatInterval == 0 {
		c.HeartbeatInterval = 5 * time.Second
	}
	if c.MaxSize == 0 {
		c.MaxSize = 1000
	}
	if len(c.Assignors) == 0 {
		c.Assignors = []string{"uniform", "range"}
	}
	return c
}
