package meta

import "math"

// MaxMessageBytes is the largest max.message.bytes: a batch must fit one frame
// of the journal.
const MaxMessageBytes = 32 << 20

// minSegmentBytes is Kafka's smallest segment since KIP-1030.
const minSegmentBytes = 1 << 20

// topicSetting is a row of the table of topic settings.
type topicSetting struct {
	name    string
	def     string // Kafka's default
	rule    rule
	doc     string
	brokers []brokerSetting // settings of the broker that give the default, the strongest first
}

// brokerSetting is a setting of the broker behind one of a topic.
type brokerSetting struct {
	name   string
	factor int64 // milliseconds in one unit of the broker's setting; 1: same unit
}

func from(name string) []brokerSetting { return []brokerSetting{{name, 1}} }

const (
	minute = 60_000
	hour   = 60 * minute
)

const noTiering = "weir has no tiered storage"

// topicSettings are all topic settings of Apache Kafka 4.3.1, sorted by name.
// All are accepted, kept and described; TopicConfig holds those that weir acts
// on, and the documentation of the others says so.
var topicSettings = []topicSetting{
	{"cleanup.policy", "delete", listOf("compact", "delete"),
		"What becomes of old records: delete removes whole segments by age or size, compact keeps the newest record of each key. Records without key are refused in compacted topics.",
		from("log.cleanup.policy")},
	{"compression.gzip.level", "-1", either(whole(Int, 1, 9), whole(Int, -1, -1)),
		"Level used when the broker compresses with gzip; -1 is the codec's own default. Not used yet.", from("compression.gzip.level")},
	{"compression.lz4.level", "9", whole(Int, 1, 17),
		"Level used when the broker compresses with lz4. Not used yet.", from("compression.lz4.level")},
	{"compression.type", "producer", oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
		"Codec of stored batches. Batches are kept as the producer compressed them, whatever is set here.", from("compression.type")},
	{"compression.zstd.level", "3", whole(Int, -131072, 22),
		"Level used when the broker compresses with zstd. Not used yet.", from("compression.zstd.level")},
	{"delete.retention.ms", "86400000", longFrom(0),
		"How long a compacted topic keeps the marker of a deleted key, in ms.", from("log.cleaner.delete.retention.ms")},
	{"file.delete.delay.ms", "60000", longFrom(0),
		"Wait before a deleted file leaves the disk, in ms; it also waits for its last reader and for a checkpoint.", from("log.segment.delete.delay.ms")},
	{"flush.messages", "9223372036854775807", longFrom(1),
		"Records between two forced syncs. weir syncs before it acknowledges (durability sync) or leaves it to the system (os).", from("log.flush.interval.messages")},
	{"flush.ms", "9223372036854775807", longFrom(0),
		"Time between two forced syncs, in ms. weir syncs before it acknowledges (durability sync) or leaves it to the system (os).",
		[]brokerSetting{{"log.flush.interval.ms", 1}, {"log.flush.scheduler.interval.ms", 1}}},
	{"follower.replication.throttled.replicas", "", text(), "Replicas with throttled replication. weir does not replicate.", nil},
	{"index.interval.bytes", "4096", intFrom(0), "Bytes of log between two entries of the offset index.", from("log.index.interval.bytes")},
	{"leader.replication.throttled.replicas", "", text(), "Replicas with throttled replication. weir does not replicate.", nil},
	{"local.retention.bytes", "-2", longFrom(-2), "Size kept on the local disk under tiered storage; " + noTiering + ".", from("log.local.retention.bytes")},
	{"local.retention.ms", "-2", longFrom(-2), "Age kept on the local disk under tiered storage, in ms; " + noTiering + ".", from("log.local.retention.ms")},
	{"max.compaction.lag.ms", "9223372036854775807", longFrom(1),
		"Longest time a record may wait for compaction, in ms.", from("log.cleaner.max.compaction.lag.ms")},
	{"max.message.bytes", "1048588", whole(Int, 0, MaxMessageBytes), "Largest record batch accepted, in bytes, header included.", from("message.max.bytes")},
	{"message.timestamp.after.max.ms", "3600000", longFrom(0),
		"How far a record's timestamp may lie in the broker's future, in ms.", from("log.message.timestamp.after.max.ms")},
	{"message.timestamp.before.max.ms", "9223372036854775807", longFrom(0),
		"How far a record's timestamp may lie in the broker's past, in ms.", from("log.message.timestamp.before.max.ms")},
	{"message.timestamp.type", "CreateTime", oneOf("CreateTime", "LogAppendTime"),
		"Whose time records carry: the producer's (CreateTime) or the broker's (LogAppendTime).", from("log.message.timestamp.type")},
	{"min.cleanable.dirty.ratio", "0.5", decimal(0, 1),
		"Share of a log that must be uncompacted before it is compacted.", from("log.cleaner.min.cleanable.ratio")},
	{"min.compaction.lag.ms", "0", longFrom(0), "Shortest time a record stays uncompacted, in ms.", from("log.cleaner.min.compaction.lag.ms")},
	{"min.insync.replicas", "1", intFrom(1),
		"Replicas that must have a record before acks=all is answered. A partition has one replica here, so larger values have no effect.", from("min.insync.replicas")},
	{"preallocate", "false", boolean(), "Whether segments get their full size when they are made. Not used.", from("log.preallocate")},
	{"remote.log.copy.disable", "false", boolean(), "Tiered storage: stop copying; " + noTiering + ".", nil},
	{"remote.log.delete.on.disable", "false", boolean(), "Tiered storage: delete when disabled; " + noTiering + ".", nil},
	{"remote.storage.enable", "false", only(Boolean, "false", noTiering), "Tiered storage; " + noTiering + ", so only false is allowed.", nil},
	{"retention.bytes", "-1", longFrom(-1), "Largest size of a partition before its oldest segments are deleted; -1 is no limit.", from("log.retention.bytes")},
	{"retention.ms", "604800000", longFrom(-1), "Age at which segments are deleted, by the largest timestamp of their records, in ms; -1 is never.",
		[]brokerSetting{{"log.retention.ms", 1}, {"log.retention.minutes", minute}, {"log.retention.hours", hour}}},
	{"segment.bytes", "1073741824", whole(Int, minSegmentBytes, math.MaxInt32), "Size at which a new segment is begun, in bytes.", from("log.segment.bytes")},
	{"segment.index.bytes", "10485760", intFrom(4), "Size of the index at which a new segment is begun, in bytes; weir's entries have 24 bytes.", from("log.index.size.max.bytes")},
	{"segment.jitter.ms", "0", longFrom(0), "Largest part taken off segment.ms, another for each segment, in ms.",
		[]brokerSetting{{"log.roll.jitter.ms", 1}, {"log.roll.jitter.hours", hour}}},
	{"segment.ms", "604800000", longFrom(1), "Time from the first record of a segment to one that begins a new segment, in ms.",
		[]brokerSetting{{"log.roll.ms", 1}, {"log.roll.hours", hour}}},
	{"unclean.leader.election.enable", "false", boolean(), "Whether a replica that lags may lead. weir does not replicate.", from("unclean.leader.election.enable")},
}

// text allows any short list.
func text() rule {
	return matching(List, "a list of at most 1000 bytes", func(v string) bool { return len(v) <= 1000 })
}
