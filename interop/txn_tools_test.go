//go:build unix

package interop

import (
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	verifiableProducer = "org.apache.kafka.tools.VerifiableProducer"
	messageCopier      = "org.apache.kafka.tools.TransactionalMessageCopier"
)

// TestTransactionalCopier runs the programs of Apache Kafka's own system tests: the
// verifiable producer, and the copier, which aborts transactions at random.
func TestTransactionalCopier(t *testing.T) {
	in := require(t)
	t.Parallel()
	address := freeAddress(t)
	weirServe(t, in, address)
	createTopic(t, address, "verified", 1)
	createTopic(t, address, "copied", 1)
	const records = 500
	out := java(t, in, "", verifiableProducer, "--bootstrap-server", address, "--topic", "verified", "--max-messages", strconv.Itoa(records), "--acks", "-1")
	if n := countLines(strings.Split(out, "\n"), "producer_send_success"); n != records {
		t.Errorf("the verifiable producer was told of %d records, not %d", n, records)
	}
	var want []string
	for n := range records {
		want = append(want, strconv.Itoa(n))
	}
	out = java(t, in, "", messageCopier, "--broker-list", address, "--input-topic", "verified", "--input-partition", "0", "--output-topic", "copied",
		"--transactional-id", "copier", "--consumer-group", "copiers", "--transaction-size", "15", "--enable-random-aborts", "--group-mode", "--use-group-metadata")
	if n := endOffset(t, address, "copied"); n < records+records/15 {
		t.Errorf("the copier wrote %d records and markers; it printed:\n%s", n, out)
	}
	readersAgree(t, in, address, content{"verified": {0: want}, "copied": {0: want}})
}

// TestTransactionTools drives kafka-transactions, of Apache Kafka, on an open
// transaction and one that is committed. In weir no transaction hangs, so there is
// none to be found or aborted by its place; one that is not hanging it does not tear.
func TestTransactionTools(t *testing.T) {
	in := require(t)
	t.Parallel()
	address := freeAddress(t)
	weirServe(t, in, address)
	createTopic(t, address, "ledger", 2)
	begin := func(id string) *kgo.Client {
		cl := client(t, address, kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(2) {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "ledger", Partition: p, Value: []byte(id)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		return cl
	}
	if err := begin("done").EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	open := begin("open") // at offset 2, after a record and its marker
	tool(t, in, "Transactions", address, []toolCall{
		{"list", []string{`open\s+1\s+\d+\s+Ongoing`, `done\s+1\s+\d+\s+CompleteCommit`, `exit code 0`}},
		{"list --transactional-id-pattern d.*", []string{`^list.*\nTransactionalId.*\ndone.*\n.*exit code 0`}},
		{"describe --transactional-id open", []string{`1\s+open\s+\d+\s+0\s+Ongoing\s+40000\s+\d+\s+\d+\s+ledger-[01],ledger-[01]`, `exit code 0`}},
		{"describe-producers --topic ledger --partition 0", []string{`\d+\s+1\s+0\s+-1\s+\d+\s+None`, `\d+\s+0\s+-1\s+0\s+\d+\s+2\s`, `exit code 0`}},
		{"find-hanging --broker-id 1 --max-transaction-timeout 0", []string{`^find-hanging.*\nTopic.*\n.*exit code 0`}},
		{"abort --topic ledger --partition 0 --start-offset 2", []string{`Failed to abort transaction .* transactional operation in an invalid state`, `exit code 1`}},
		{"abort --topic ledger --partition 0 --start-offset 1", []string{`Could not find any open transactions starting at offset 1`, `exit code 1`}},
		{"list --duration-filter 0", []string{`open\s+1\s+\d+\s+Ongoing`, `exit code 0`}},
		{"forceTerminateTransaction --transactionalId open", []string{`exit code 0`}},
		{"list", []string{`open\s+1\s+\d+\s+Empty`}},
		{"describe-producers --topic ledger --partition 0", []string{`^describe-producers.*\nProducerId.*\n.*None.*\n.*None.*\n.*exit code 0`}},
	})
	if err := open.EndTransaction(t.Context(), kgo.TryCommit); err == nil {
		t.Error("a transaction that was terminated by force is committed")
	}
	readersAgree(t, in, address, content{"ledger": {0: {"done"}, 1: {"done"}}})
}
