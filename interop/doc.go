// Package interop proves with other people's programs that weir is what it says.
//
// Two claims stand or fall here. Below the wall: clients in other languages work
// on weir's broker unchanged (the guide's Python programs to the letter,
// confluent-kafka, the Java tools). Above the wall: weir's own applications and
// commands work unchanged on Apache Kafka.
//
// # Stories of groups
//
// One story tells the life of a consumer group: members come, one is killed, one
// leaves, a static one comes back, the broker is restarted and killed, while
// records flow all the time. It runs with each client library and each protocol
// that it speaks, all at once:
//
//	library           eager   cooperative   consumer (KIP-848)   moves between the protocols
//	franz-go          yes     yes           yes                  yes
//	confluent-kafka   yes     yes           yes                  from eager
//	kafka-python      yes     yes           has it not (3.0.12)
//	Java              yes     yes           yes                  yes
//	all in one group          yes           yes
//
// Those of franz-go, and Java's of the consumer protocol, run on Apache Kafka, too,
// to prove the story itself.
//
// A member is a process of its own (package member, python/member.py,
// java/Member.java) that prints what happens to it as lines of JSON. The journal of
// a story gathers them; judge says what must not have happened: a partition with
// two owners, a record that nobody read, a commit that moved back. The story itself
// wants that each phase ends with a stable group of even shares, that only what
// must move is revoked, and that a static member or the broker comes back unnoticed.
// The broker's own account of members and offsets is held against theirs.
//
// # Stories of transactions
//
// One story tells the life of a transactional id: its producer commits and aborts,
// is fenced by the next, lets its time pass, and copies a topic in transactions that
// hold the group's offsets, while one copier is killed in its transaction, one is
// stopped until another has its place, and the broker is killed. It runs with each client library, all at once, in both versions
// of transactions (the feature transaction.version):
//
//	library           version 1       version 2
//	franz-go          yes             yes
//	Java              yes (3.5)       yes
//	confluent-kafka   yes             has it not (librdkafka 2.16)
//	kafka-python      yes             has it not (3.0.12)
//	sarama            yes             has it not (1.61)
//
// The programs (package transactor, python/transactor.py, java/Transactor.java, and
// sarama, which is a module of its own) obey the story line by line. Afterwards three kinds of
// read_committed consumers must find what was committed and nothing else, in order,
// at the same offsets: weir consume, confluent-kafka and Java's console consumer.
// The stories of franz-go run on Apache Kafka, too. Kafka's own TransactionalMessageCopier,
// VerifiableProducer and kafka-transactions work on weir's broker.
//
// The tests need Python packages, Java and Apache Kafka's jars. The script run,
// beside this file, installs all of it below .work, builds weir, and runs the
// tests with the environment they want; there none may skip. In go test ./...
// they skip and say so.
//
// Every process is started here, on loopback, and ended by its id.
package interop
