package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// apis are the rows of the API table that the coordinator serves. Assignments
// and subscriptions may be large (H104: 8 MiB of metadata are fine); what answers
// with more bytes than were asked has the smaller limits.
func (h *coordinator) apis() []api {
	const (
		kib = 1 << 10
		mib = 1 << 20
	)
	return []api{
		{key: kmsg.OffsetCommit, min: 2, max: 10, limit: 16 * mib, cost: 8, acl: "Read Group, Read Topic", throttle: throttleRequest, handler: decoded(h.offsetCommit)},
		{key: kmsg.OffsetFetch, min: 1, max: 10, limit: 4 * mib, cost: 32, acl: "Describe Group, Describe Topic", throttle: throttleRequest, handler: decoded(h.offsetFetch)},
		{key: kmsg.FindCoordinator, min: 0, max: 6, limit: 256 * kib, cost: 16, acl: "Describe Group, Describe TransactionalId", throttle: throttleRequest, handler: decoded(h.findCoordinator)},
		{key: kmsg.JoinGroup, min: 0, max: 9, limit: 16 * mib, cost: 24, acl: "Read Group", throttle: throttleRequest, handler: decoded(h.joinGroup)},
		{key: kmsg.Heartbeat, min: 0, max: 4, limit: 256 * kib, cost: 16, acl: "Read Group", throttle: throttleRequest, handler: decoded(h.heartbeat)},
		{key: kmsg.LeaveGroup, min: 0, max: 5, limit: mib, cost: 24, acl: "Read Group", throttle: throttleRequest, handler: decoded(h.leaveGroup)},
		{key: kmsg.SyncGroup, min: 0, max: 5, limit: 32 * mib, cost: 24, acl: "Read Group", throttle: throttleRequest, handler: decoded(h.syncGroup)},
		{key: kmsg.DescribeGroups, min: 0, max: 6, limit: 256 * kib, cost: 16, acl: "Describe Group", throttle: throttleRequest, handler: decoded(h.describeGroups)},
		{key: kmsg.ListGroups, min: 0, max: 5, limit: 256 * kib, cost: 16, acl: "Describe Cluster, Describe Group", throttle: throttleRequest, handler: decoded(h.listGroups)},
		{key: kmsg.ConsumerGroupHeartbeat, min: 0, max: 1, limit: 4 * mib, cost: 48, acl: "Read Group, Describe Topic", throttle: throttleRequest, handler: decoded(h.consumerGroupHeartbeat)},
		{key: kmsg.ConsumerGroupDescribe, min: 0, max: 1, limit: 256 * kib, cost: 16, acl: "Describe Group, Describe Topic", throttle: throttleRequest, handler: decoded(h.consumerGroupDescribe)},
		{key: kmsg.DeleteGroups, min: 0, max: 2, limit: 256 * kib, cost: 16, acl: "Delete Group", throttle: throttleRequest, handler: decoded(h.deleteGroups)},
		{key: kmsg.OffsetDelete, min: 0, max: 0, limit: 4 * mib, cost: 16, acl: "Delete Group, Read Topic", throttle: throttleRequest, handler: decoded(h.offsetDelete)},
	}
}
