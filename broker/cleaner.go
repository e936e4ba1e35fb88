package broker

import (
	"math"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// cleanRule says how storage compacts the logs of a topic with this config. In a
// compacted topic Kafka's largest values mean that there is no limit.
func cleanRule(c *meta.TopicConfig) storage.Clean {
	if !c.Compact {
		return storage.Clean{}
	}
	r := storage.Clean{
		Compact: true, MinDirtyRatio: c.MinCleanableDirtyRatio,
		MinLagMillis: c.MinCompactionLagMillis, MaxLagMillis: c.MaxCompactionLagMillis, DeleteRetentionMillis: c.DeleteRetentionMillis,
	}
	if r.MaxLagMillis == math.MaxInt64 {
		r.MaxLagMillis = 0
	}
	return r
}

// cleanRate turns Kafka's number of bytes per second, by default the largest that
// there is, into storage's, where 0 is no limit.
func cleanRate(perSecond float64) int64 {
	if perSecond >= math.MaxInt64 {
		return 0
	}
	return int64(perSecond)
}

// internalSegmentBytes is the segment.bytes of the broker's own topics. Only what
// is sealed is compacted, and what is not is replayed at each start; so it is
// less than a user's topic has, and less than Kafka's 100 MiB.
const internalSegmentBytes = "16777216"

// internalConfigs are the configs of the broker's own topics.
func internalConfigs() map[string]string {
	return map[string]string{"cleanup.policy": "compact", "segment.bytes": internalSegmentBytes}
}
