package group

import "github.com/twmb/franz-go/pkg/kmsg"

// ConsumerDescribe is one group of ConsumerGroupDescribe v0–1. Operations that the
// asker is authorized for are left to the caller.
func (c *Core) ConsumerDescribe(group string) kmsg.ConsumerGroupDescribeResponseGroup {
	resp := kmsg.NewConsumerGroupDescribeResponseGroup()
	resp.Group, resp.ErrorCode, resp.State = group, groupIDNotFound, string(Dead)
	return resp
}
