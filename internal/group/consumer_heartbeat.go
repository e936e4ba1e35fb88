package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerHeartbeat is ConsumerGroupHeartbeat v0–1 (KIP-848, KIP-1082). It may make
// records, which must be durable before the answer leaves.
func (c *Core) ConsumerHeartbeat(_ time.Time, _ Client, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.Version, resp.ErrorCode = req.Version, unsupportedVersion
	return resp
}
