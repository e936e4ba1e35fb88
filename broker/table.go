package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// coreAPIs are the rows of all that no coordinator serves. The ranges
// are those of Apache Kafka 4.3.1.
func (b *Broker) coreAPIs() []api {
	const (
		kib = 1 << 10
		mib = 1 << 20
	)
	return []api{
		{key: kmsg.Produce, min: 3, max: 13, fromZero: true, acl: "Write Topic", throttle: throttleProduce, handler: b.produce},
		{key: kmsg.Fetch, min: 4, max: 18, limit: 4 * mib, cost: 12, acl: "Read Topic", throttle: throttleFetch, handler: b.fetch},
		{key: kmsg.ListOffsets, min: 1, max: 11, limit: 4 * mib, cost: 24, acl: "Describe Topic", throttle: throttleRequest, handler: decoded(b.listOffsets)},
		{key: kmsg.Metadata, min: 0, max: 13, limit: 8 * mib, cost: 48, acl: "Describe Topic, Create Topic", throttle: throttleRequest, handler: decoded(b.metadataRequest)},
		{key: kmsg.ApiVersions, min: 0, max: 4, limit: 16 * kib, throttle: throttleNone, handler: decoded(b.apiVersions)},
		{key: kmsg.CreateTopics, min: 2, max: 7, limit: mib, cost: 128, acl: "Create Cluster, Create Topic", throttle: throttleMutation, handler: decoded(b.createTopics)},
		{key: kmsg.DeleteTopics, min: 1, max: 6, limit: mib, cost: 48, acl: "Delete Topic", throttle: throttleMutation, handler: decoded(b.deleteTopics)},
		{key: kmsg.DeleteRecords, min: 0, max: 2, limit: mib, cost: 56, acl: "Delete Topic", throttle: throttleRequest, handler: decoded(b.deleteRecords)},
		{key: kmsg.OffsetForLeaderEpoch, min: 2, max: 4, limit: 4 * mib, cost: 48, acl: "Describe Topic", throttle: throttleRequest, handler: decoded(b.offsetForLeaderEpoch)},
		{key: kmsg.DescribeConfigs, min: 1, max: 4, limit: mib, cost: 64, acl: "DescribeConfigs Topic, DescribeConfigs Group, DescribeConfigs Cluster", throttle: throttleRequest, handler: decoded(b.describeConfigs)},
		{key: kmsg.AlterConfigs, min: 0, max: 2, limit: mib, cost: 128, acl: "AlterConfigs Topic, AlterConfigs Group, AlterConfigs Cluster", throttle: throttleRequest, handler: decoded(b.legacyAlterConfigs)},
		{key: kmsg.IncrementalAlterConfigs, min: 0, max: 1, limit: mib, cost: 128, acl: "AlterConfigs Topic, AlterConfigs Group, AlterConfigs Cluster", throttle: throttleRequest, handler: decoded(b.incrementalAlterConfigs)},
		{key: kmsg.ListConfigResources, min: 0, max: 1, limit: 4 * kib, acl: "DescribeConfigs Cluster", throttle: throttleRequest, handler: decoded(b.listConfigResources)},
		{key: kmsg.CreatePartitions, min: 0, max: 3, limit: mib, cost: 64, acl: "Alter Topic", throttle: throttleMutation, handler: decoded(b.createPartitions)},
		{key: kmsg.DescribeProducers, min: 0, max: 0, limit: mib, cost: 48, acl: "Read Topic", throttle: throttleRequest, handler: decoded(b.describeProducers)},
		{key: kmsg.DescribeCluster, min: 0, max: 2, limit: 4 * kib, acl: "Describe Cluster", throttle: throttleRequest, handler: decoded(b.describeCluster)},
	}
}
