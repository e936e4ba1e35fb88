// Command transactor is a transactional producer of the client franz-go: the Go
// program among those that the stories of transactions of package interop start.
// Its sisters sarama/main.go, python/transactor.py and java/Transactor.java do the
// same and print the same lines of JSON.
//
// Without -group it obeys standard input, one command a line, and answers each by
// one line of JSON: begin, send TOPIC PARTITION VALUE, commit, abort. It answers
// "did", or "refused" with the error and whether that is fatal: whether its library
// says that this producer cannot go on. Before the first command it says "ready":
// it has its producer id.
//
// With -group it copies the records of topic -from to the same partitions of topic
// -to, with the group's offsets in the same transactions, until SIGTERM. Each
// transaction is reported as "committed" with the offsets; every third is aborted
// first and done again. In the transaction -hang it says "hangs" once the records are
// written (and the offsets, where its library writes those before the end), and goes
// on only at a line of standard input. What it does not expect, it reports as "failed" and ends
// with exit code 1: whoever runs it starts it again.
package main
