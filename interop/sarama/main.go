// Command sarama is a transactional producer of the client sarama, sister of the Go
// program in ../transactor, which tells what it does. It is a module of its own so
// that weir's does not depend on sarama. This client speaks version 1 of transactions.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/IBM/sarama"
)

type flags struct {
	bootstrap, id, group, from, to string
	timeout, hang                  int
}

func main() {
	var f flags
	flag.StringVar(&f.bootstrap, "bootstrap", "", "address of the broker")
	flag.StringVar(&f.id, "id", "", "transactional id")
	flow := flag.Int("flow", 1, "the version of transactions to speak: 1")
	flag.IntVar(&f.timeout, "timeout", 60000, "timeout of a transaction, milliseconds")
	flag.StringVar(&f.group, "group", "", "copy as a member of this group")
	flag.StringVar(&f.from, "from", "", "topic to copy from")
	flag.StringVar(&f.to, "to", "", "topic to copy to")
	flag.IntVar(&f.hang, "hang", 0, "transaction to hang in, from 1 on")
	flag.Parse()
	if err := start(f, *flow); err != nil {
		say(line{Event: "failed", Error: err.Error()})
		os.Exit(1)
	}
}

func start(f flags, flow int) error {
	if flow != 1 {
		return fmt.Errorf("version %d of transactions is not spoken", flow)
	}
	producer, err := sarama.NewSyncProducer([]string{f.bootstrap}, config(f))
	if err != nil {
		return fmt.Errorf("producer: %w", err)
	}
	if f.group != "" {
		return copyAll(f, producer)
	}
	say(line{Event: "ready"})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := do(producer, strings.Fields(in.Text())); err != nil {
			say(line{Event: "refused", Error: err.Error(), Fatal: producer.TxnStatus()&sarama.ProducerTxnFlagFatalError != 0})
		} else {
			say(line{Event: "did"})
		}
	}
	return nil
}

func config(f flags) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V4_3_1_0
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Transaction.ID = f.id
	c.Producer.Transaction.Timeout = time.Duration(f.timeout) * time.Millisecond
	c.Net.MaxOpenRequests = 1
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	return c
}

func do(producer sarama.SyncProducer, words []string) error {
	switch words[0] {
	case "begin":
		return producer.BeginTxn()
	case "send":
		partition, err := strconv.Atoi(words[2])
		if err != nil {
			return err
		}
		_, _, err = producer.SendMessage(&sarama.ProducerMessage{Topic: words[1], Partition: int32(partition), Value: sarama.StringEncoder(words[3])})
		return err
	case "commit":
		return producer.CommitTxn()
	case "abort":
		return producer.AbortTxn()
	}
	return fmt.Errorf("unknown command %q", words[0])
}

// copier copies. Each partition has a goroutine of the library, one producer serves
// them all.
type copier struct {
	flags
	mu       sync.Mutex
	producer sarama.SyncProducer
	n        int // transactions
}

func copyAll(f flags, producer sarama.SyncProducer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	group, err := sarama.NewConsumerGroup([]string{f.bootstrap}, f.group, config(f))
	if err != nil {
		return fmt.Errorf("group: %w", err)
	}
	say(line{Event: "ready"})
	c := &copier{flags: f, producer: producer}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{f.from}, c); err != nil {
			return fmt.Errorf("consume: %w", err)
		}
	}
	if err := group.Close(); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	say(line{Event: "left"})
	return nil
}

// Setup implements sarama.ConsumerGroupHandler.
func (c *copier) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup implements sarama.ConsumerGroupHandler.
func (c *copier) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim implements sarama.ConsumerGroupHandler.
func (c *copier) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case <-session.Context().Done():
			return nil
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			messages := []*sarama.ConsumerMessage{m}
			for len(messages) < 20 && len(claim.Messages()) > 0 {
				messages = append(messages, <-claim.Messages())
			}
			if err := c.copy(session, messages); err != nil {
				say(line{Event: "failed", Error: err.Error()})
				os.Exit(1)
			}
		}
	}
}

func (c *copier) copy(session sarama.ConsumerGroupSession, messages []*sarama.ConsumerMessage) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if session.Context().Err() != nil {
		return nil // the partition may have another owner by now
	}
	c.n++
	if c.n%3 == 0 {
		if err := c.write(session, messages); err != nil {
			return err
		}
		if err := c.producer.AbortTxn(); err != nil {
			return fmt.Errorf("abort: %w", err)
		}
		say(line{Event: "aborted"})
	}
	if err := c.write(session, messages); err != nil {
		return err
	}
	if c.n == c.hang {
		say(line{Event: "hangs"})
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return err
		}
	}
	if err := c.producer.CommitTxn(); err != nil {
		return fmt.Errorf("commit: %w", errors.Join(err, c.producer.AbortTxn()))
	}
	last := messages[len(messages)-1]
	say(line{Event: "committed", Offsets: map[int32]int64{last.Partition: last.Offset + 1}})
	return nil
}

func (c *copier) write(session sarama.ConsumerGroupSession, messages []*sarama.ConsumerMessage) error {
	if err := c.producer.BeginTxn(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	var copies []*sarama.ProducerMessage
	for _, m := range messages {
		copies = append(copies, &sarama.ProducerMessage{Topic: c.to, Partition: m.Partition, Value: sarama.ByteEncoder(m.Value)})
	}
	if err := c.producer.SendMessages(copies); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	group := sarama.NewConsumerGroupMetadataFromSession(session, c.group, nil)
	if err := c.producer.AddMessageToTxnWithGroupMetadata(messages[len(messages)-1], group, nil); err != nil {
		return fmt.Errorf("offsets: %w", err)
	}
	return nil
}

type line struct {
	At      int64           `json:"at"` // Unix nanoseconds
	Event   string          `json:"event"`
	Offsets map[int32]int64 `json:"offsets,omitempty"` // of the next records
	Error   string          `json:"error,omitempty"`
	Fatal   bool            `json:"fatal,omitempty"`
}

// say prints a line whole.
var say = func() func(line) {
	var mu sync.Mutex
	return func(l line) {
		mu.Lock()
		defer mu.Unlock()
		l.At = time.Now().UnixNano()
		_ = json.NewEncoder(os.Stdout).Encode(l)
	}
}()
