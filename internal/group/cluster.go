package group

import (
	"iter"
	"time"
)

// Cluster is what the server side of consumer groups needs to know of topics and
// of the configurations of groups. A value stands for one moment and never
// changes, so that a Core stays pure: who has news calls SetCluster.
type Cluster interface {
	// Topic finds a topic by its name.
	Topic(name string) (id [16]byte, partitions int32, ok bool)
	// TopicName finds the name of a topic that exists.
	TopicName(id [16]byte) (string, bool)
	// TopicNames are the names of all topics, in any order.
	TopicNames() iter.Seq[string]
	// GroupConfig is what is set for a group; what is zero is as the Config of the
	// Core has it.
	GroupConfig(group string) GroupConfig
}

// GroupConfig holds the dynamic configurations of one consumer group
// (consumer.session.timeout.ms, consumer.heartbeat.interval.ms,
// consumer.assignment.interval.ms), resolved and validated by the caller.
type GroupConfig struct {
	SessionTimeout     time.Duration // zero: ConsumerConfig.SessionTimeout
	HeartbeatInterval  time.Duration // zero: ConsumerConfig.HeartbeatInterval
	AssignmentInterval time.Duration // zero: ConsumerConfig.AssignmentInterval
}

// noCluster is the Cluster of a Core that has not been told of one.
type noCluster struct{}

func (noCluster) Topic(string) (id [16]byte, partitions int32, ok bool) { return id, 0, false }
func (noCluster) TopicName([16]byte) (string, bool)                     { return "", false }
func (noCluster) TopicNames() iter.Seq[string]                          { return func(func(string) bool) {} }
func (noCluster) GroupConfig(string) GroupConfig                        { return GroupConfig{} }
