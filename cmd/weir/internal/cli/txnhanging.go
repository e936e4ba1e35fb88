package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (a *app) txnHangingCommand() *cobra.Command {
	var idle time.Duration
	cmd := &cobra.Command{
		Use: "hanging [TOPIC...]", Short: "Find transactions that nobody will end",
		Long: `Find, in some topics or in all, transactions that are open in a partition while no
coordinator knows of them: nobody will end them, and consumers that read committed
records only wait there for good. txn abort --hanging ends one. weir's own broker
ends such transactions when it starts.

A producer that has written a moment ago may just be joining its coordinator, so
only those that were idle for --idle are looked at.`,
		Example: `  weir txn hanging
  weir txn hanging orders audit --idle 1h`,
		Args: positional(0, -1, "names of topics"),
		RunE: a.asking(func(ctx context.Context, client *kadm.Client, args []string) error {
			if idle < 0 {
				return usagef("--idle %v: want a time from now back", idle)
			}
			rows, err := a.hanging(ctx, client, args, idle)
			if err != nil {
				return err
			}
			list := newListing("HangingTransactionList", column{name: "topic"}, column{name: "partition"}, column{name: "producer_id"},
				column{name: "epoch"}, column{name: "first_offset"}, column{name: "idle"}, column{name: "transactional_id"},
				column{name: "coordinator_epoch", wide: true})
			for _, r := range rows {
				if r.err != nil {
					list.add(r.err, r.Topic, orNoPartition(r.Partition), nil, nil, nil, nil, nil, nil)
					continue
				}
				list.add(nil, r.Topic, r.Partition, r.ProducerID, r.ProducerEpoch, r.CurrentTxnStartOffset,
					lasted(a.Now().Sub(time.UnixMilli(r.LastTimestamp))), orNil(r.id), r.CoordinatorEpoch)
			}
			return a.print(list)
		}),
		ValidArgsFunction: a.completeTopics(-1),
	}
	cmd.Flags().DurationVar(&idle, "idle", 15*time.Minute, "how long the producer must have written nothing to the partition")
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

// hangingTxn is a transaction that is open in a partition.
type hangingTxn struct {
	kadm.DescribedProducer
	id  string // of the coordinator's that has the producer id, if there is one
	err error
}

func orNoPartition(n int32) any {
	if n < 0 {
		return nil
	}
	return n
}

// hanging finds what is open in the partitions, and asks the coordinators whose it is.
func (a *app) hanging(ctx context.Context, client *kadm.Client, names []string, idle time.Duration) ([]hangingTxn, error) {
	topics, err := lookup(ctx, client, names...)
	if err != nil {
		return nil, err
	}
	var rows []hangingTxn
	set := kadm.TopicsSet{}
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			rows = append(rows, hangingTxn{kadm.DescribedProducer{Topic: t.Topic, Partition: -1}, "", t.Err})
			continue
		}
		set.Add(t.Topic, t.Partitions.Numbers()...)
	}
	if len(set) == 0 {
		return rows, nil
	}
	described, err := client.DescribeProducers(ctx, set)
	if err != nil {
		return nil, fmt.Errorf("describe producers: %w", named(err))
	}
	var open []hangingTxn
	for _, p := range described.SortedPartitions() {
		if p.Err != nil {
			rows = append(rows, hangingTxn{kadm.DescribedProducer{Topic: p.Topic, Partition: p.Partition}, "", reason(named(p.Err), p.ErrMessage)})
			continue
		}
		p.ActiveProducers.Each(func(w kadm.DescribedProducer) {
			if w.CurrentTxnStartOffset >= 0 && a.Now().Sub(time.UnixMilli(w.LastTimestamp)) >= idle {
				open = append(open, hangingTxn{DescribedProducer: w})
			}
		})
	}
	open, err = unknownToCoordinators(ctx, client, open)
	if err != nil {
		return nil, err
	}
	rows = append(rows, open...)
	slices.SortFunc(rows, func(x, y hangingTxn) int {
		return cmp.Or(strings.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.ProducerID, y.ProducerID))
	})
	return rows, nil
}

// unknownToCoordinators leaves those that are no part of their producer's transaction.
func unknownToCoordinators(ctx context.Context, client *kadm.Client, open []hangingTxn) ([]hangingTxn, error) {
	if len(open) == 0 {
		return nil, nil
	}
	listed, err := client.ListTransactions(ctx, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", named(err))
	}
	ids := map[int64]string{}
	listed.Each(func(t kadm.ListedTransaction) { ids[t.ProducerID] = t.TxnID })
	var ask []string
	for i := range open {
		if open[i].id = ids[open[i].ProducerID]; open[i].id != "" {
			ask = append(ask, open[i].id)
		}
	}
	known := map[string]*txnView{}
	if len(ask) > 0 {
		views, err := describeTxns(ctx, client, ask)
		if err != nil {
			return nil, err
		}
		for _, v := range views {
			known[v.TxnID] = v
		}
	}
	return slices.DeleteFunc(open, func(h hangingTxn) bool {
		v := known[h.id]
		return v != nil && v.err == nil && v.running() && v.ProducerID == h.ProducerID && v.Topics.Lookup(h.Topic, h.Partition)
	}), nil
}

// abortHanging appends a marker where a transaction is open.
func (a *app) abortHanging(cmd *cobra.Command, at string, producer int64, yes, dry bool) error {
	chosen, err := parseScope([]string{at}, false)
	if err != nil {
		return usagef("--hanging %q: want TOPIC:PARTITION", at)
	}
	topic, _, _ := strings.Cut(at, ":")
	if len(chosen.partitions[topic]) != 1 {
		return usagef("--hanging %q: want TOPIC:PARTITION, one partition", at)
	}
	number := chosen.partitions[topic][0]
	ctx, client, done, err := a.admin(cmd)
	if err != nil {
		return err
	}
	w, err := openIn(ctx, client, topic, number, producer)
	done()
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Stderr, "transaction of producer %d, epoch %d, in %s:%d: open since offset %d, idle for %s\n",
		producer, w.ProducerEpoch, topic, number, w.CurrentTxnStartOffset, lasted(a.Now().Sub(time.UnixMilli(w.LastTimestamp))))
	status := "would be aborted"
	if !dry {
		if err := a.confirm(cmd.Context(), "Abort it in this partition?", yes); err != nil {
			return err
		}
		if ctx, client, done, err = a.admin(cmd); err != nil {
			return err
		}
		defer done()
		status = "aborted"
		if err = writeAbort(ctx, client, w); err != nil {
			status = "failed"
		}
	}
	list := newListing("HangingAbortResult", column{name: "topic"}, column{name: "partition"}, column{name: "producer_id"}, column{name: "status"})
	list.add(err, topic, number, producer, status)
	return a.print(list)
}

// openIn finds the open transaction of a producer in a partition.
func openIn(ctx context.Context, client *kadm.Client, topic string, number int32, producer int64) (kadm.DescribedProducer, error) {
	set := kadm.TopicsSet{}
	set.Add(topic, number)
	described, err := client.DescribeProducers(ctx, set)
	if err != nil {
		return kadm.DescribedProducer{}, fmt.Errorf("describe producers: %w", named(err))
	}
	p := described[topic].Partitions[number]
	if p.Err != nil {
		return kadm.DescribedProducer{}, fmt.Errorf("producers of %s:%d: %w", topic, number, reason(named(p.Err), p.ErrMessage))
	}
	w, ok := p.ActiveProducers[producer]
	if !ok || w.CurrentTxnStartOffset < 0 {
		return kadm.DescribedProducer{}, fmt.Errorf("producer %d has no transaction open in %s:%d", producer, topic, number)
	}
	return w, nil
}

func writeAbort(ctx context.Context, client *kadm.Client, w kadm.DescribedProducer) error {
	set := kadm.TopicsSet{}
	set.Add(w.Topic, w.Partition)
	written, err := client.WriteTxnMarkers(ctx, kadm.TxnMarkers{
		ProducerID: w.ProducerID, ProducerEpoch: w.ProducerEpoch, CoordinatorEpoch: max(w.CoordinatorEpoch, 0), Topics: set,
	})
	if err != nil {
		return named(err)
	}
	for _, m := range written {
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				if p.Err != nil {
					return abortRefused(p.Err)
				}
			}
		}
	}
	return nil
}

func abortRefused(err error) error {
	if named(err).Error() == kerr.InvalidTxnState.Message {
		return fmt.Errorf("its coordinator knows of it: abort its transactional id instead: %w", named(err))
	}
	return named(err)
}
