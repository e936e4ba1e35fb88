// Package meta is what a broker knows: its topics and its settings.
//
// The nouns. A Record is one durable fact in the log __cluster_metadata. An
// Image is all that the log says up to some record. A topic setting belongs to
// a topic ("segment.bytes"), a group setting to a consumer group
// ("consumer.session.timeout.ms"), a broker setting to the broker
// ("num.partitions"); many broker settings are only the defaults of one of a topic
// ("log.segment.bytes") or group. Settings are the broker's, parsed; TopicConfig and
// GroupConfig are what is in force for one topic or group.
//
//	bytes ── Decode ──► Record ── Image.Apply ──► Image ──► Topic.Configs ─┐
//	bytes ◄─ Encode ─── Record                                             ├─► TopicConfig
//	map of strings ── ParseSettings ──► Settings ──────────────────────────┘
//
// Invariants:
//
//  1. An Image never changes. Apply returns a new one, which shares nearly all
//     memory with the old; readers may keep either as long as they like.
//  2. In an Image names and ids of topics are unique, and no producer id is
//     handed out twice: NextProducerID never goes back.
//  3. A record of an unknown type or a newer version is an error that names it.
//     Skipping it could bring a deleted topic back, so nobody may.
//  4. A setting is judged by its row in one of three tables; the tables are also
//     what DescribeConfigs and the documentation list. A row that nothing acts
//     on says so in its documentation.
//  5. Every error names the key, the value and what is allowed.
//
// The package is pure: no goroutine, file, clock or lock. The broker holds the
// newest Image under an atomic pointer and lets one goroutine at a time apply
// records, after they were appended to the log. doc/format/metadata-log.md
// describes the records.
//
// Left out until they are needed: records of users, quotas and access rules, and of
// settings of the broker that change while it runs. Each will be a new record type,
// which an older weir refuses by invariant 3.
package meta
