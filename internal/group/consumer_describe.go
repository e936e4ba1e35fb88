package group

import "github.com/twmb/franz-go/pkg/kmsg"

// ConsumerDescribe is one group of ConsumerGroupDescribe v0–1. Operations that the
// asker is authorized for are left to the caller. Topics that are gone are left out.
func (c *Core) ConsumerDescribe(group string) kmsg.ConsumerGroupDescribeResponseGroup {
	resp := kmsg.NewConsumerGroupDescribeResponseGroup()
	resp.Group = group
	resp.Members = []kmsg.ConsumerGroupDescribeResponseGroupMember{}
	g := c.groups[group]
	if g == nil || g.consumer == nil {
		resp.ErrorCode = groupIDNotFound
		resp.ErrorMessage = kmsg.StringPtr("Group " + group + " not found.")
		if g != nil {
			resp.ErrorMessage = kmsg.StringPtr("Group " + group + " is not a consumer group.")
		}
		return resp
	}
	cg := g.consumer
	resp.State, resp.Epoch, resp.AssignmentEpoch = string(g.state), cg.epoch, cg.assignmentEpoch
	resp.AssignorName = cg.preferredAssignor(c.cfg.Consumer.Assignors)
	for _, m := range cg.sortedMembers() {
		rm := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		rm.MemberID, rm.InstanceID, rm.RackID, rm.MemberEpoch = m.id, m.instance, m.rack, m.epoch
		rm.ClientID, rm.ClientHost = m.client.ID, m.client.Host
		rm.SubscribedTopics = append([]string{}, m.topics...)
		rm.SubscribedTopicRegex = kmsg.StringPtr(m.regex)
		for _, topic := range sortedTopics(m.assigned) {
			rm.Assignment.TopicPartitions = c.describeTopic(rm.Assignment.TopicPartitions, topic, partitionsOf(m.assigned[topic]))
		}
		for _, topic := range sortedTopics(m.target) {
			rm.TargetAssignment.TopicPartitions = c.describeTopic(rm.TargetAssignment.TopicPartitions, topic, m.target[topic])
		}
		rm.MemberType = 1
		if m.classic != nil {
			rm.MemberType = 0
		}
		resp.Members = append(resp.Members, rm)
	}
	return resp
}

func (c *Core) describeTopic(list []kmsg.AssignmentTopicPartition, id [16]byte, partitions []int32) []kmsg.AssignmentTopicPartition {
	name, ok := c.cluster.TopicName(id)
	if !ok {
		return list
	}
	tp := kmsg.NewAssignmentTopicPartition()
	tp.TopicID, tp.Topic, tp.Partitions = id, name, partitions
	return append(list, tp)
}
