package group

import "github.com/twmb/franz-go/pkg/kmsg"

// consumerGroup is the membership of a group of the next protocol (KIP-848).
type consumerGroup struct{}

// consumerMayCommit says whether the sender of an OffsetCommit may commit at all.
func (g *group) consumerMayCommit(*kmsg.OffsetCommitRequest) int16 { return unknownMemberID }

// consumerMayCommitTo says whether it may commit to a partition (KIP-1251).
func (g *group) consumerMayCommitTo(*kmsg.OffsetCommitRequest, [16]byte, int32) int16 { return none }

// consumerMayFetch checks the member of an OffsetFetch, if it names one.
func (g *group) consumerMayFetch(*string, int32) int16 { return none }

// consumerSubscribed tells whether a member subscribes to a topic.
func (g *group) consumerSubscribed(string) bool { return false }

// consumerErase makes the tombstones of all records of a group without members.
func (c *Core) consumerErase(*group) {}
