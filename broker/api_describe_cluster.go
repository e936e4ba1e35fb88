package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeCluster, key 60, v0–2.
//
//	v1   kind of endpoint (KIP-919): 1 brokers, 2 controllers
//	v2   fenced brokers (KIP-1073): there are none

func (b *Broker) describeCluster(c *call, req *kmsg.DescribeClusterRequest) {
	const endpointBrokers = 1
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ClusterAuthorizedOperations = noOperations
	if c.version >= 1 && req.EndpointType != endpointBrokers {
		resp.ErrorCode = kerr.MismatchedEndpointType.Code
		resp.ErrorMessage = kmsg.StringPtr(fmt.Sprintf("endpoints of kind %d are not here", req.EndpointType))
		resp.EndpointType = req.EndpointType
		c.reply(resp, 0)
		return
	}
	resp.EndpointType = endpointBrokers
	resp.ClusterID, resp.ControllerID = b.metadata.image().ClusterID(), b.settings.NodeID
	node := kmsg.NewDescribeClusterResponseBroker()
	node.NodeID, node.Host, node.Port = b.settings.NodeID, c.conn.advertise.host, c.conn.advertise.port
	resp.Brokers = append(resp.Brokers, node)
	c.reply(resp, 0)
}
