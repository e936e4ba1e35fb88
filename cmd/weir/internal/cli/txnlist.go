package cli

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnStates are the words of --state, as brokers write them.
var txnStates = []string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "PrepareEpochFence", "Dead"}

// txnFilter is what txn list lets through.
type txnFilter struct {
	states     []string
	producers  []int64
	runningFor time.Duration
	pattern    string
	matches    *regexp.Regexp
}

func (a *app) txnListCommand() *cobra.Command {
	var f txnFilter
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List transactional ids",
		Long: `List the transactional ids that the brokers know, with the state of the last
transaction of each.`,
		Example: `  weir txn list --state Ongoing --running-for 1m
  weir txn list --pattern 'payments-.*' -O json`,
		Args: positional(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := a.checkOutput(); err != nil {
				return err
			}
			if f.states, err = wordsOf("--state", f.states, txnStates); err != nil {
				return err
			}
			if f.runningFor < 0 {
				return usagef("--running-for %v: want a time from now back", f.runningFor)
			}
			if f.matches, err = regexp.Compile("^(?:" + f.pattern + ")$"); err != nil {
				return usagef("--pattern %s: %w", f.pattern, err)
			}
			return a.listTxns(cmd, &f)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringSliceVar(&f.states, "state", nil, "only ids in these states: "+strings.Join(txnStates, ", "))
	cmd.Flags().Int64SliceVar(&f.producers, "producer", nil, "only ids of these producer ids")
	cmd.Flags().DurationVar(&f.runningFor, "running-for", 0, "only transactions that have run for so long")
	cmd.Flags().StringVar(&f.pattern, "pattern", "", "only ids that match this regular expression as a whole")
	must(cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(txnStates, cobra.ShellCompDirectiveNoFileComp)))
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

// request has the filters in it. Brokers that are too old pass some over, so all that can
// be are applied here, too.
func (f *txnFilter) request() *kmsg.ListTransactionsRequest {
	req := kmsg.NewPtrListTransactionsRequest()
	req.StateFilters, req.ProducerIDFilters = f.states, f.producers
	if f.runningFor > 0 {
		req.DurationFilterMillis = f.runningFor.Milliseconds()
	}
	if f.pattern != "" {
		req.TransactionalIDPattern = &f.pattern
	}
	return req
}

func (f *txnFilter) passes(t *kmsg.ListTransactionsResponseTransactionState) bool {
	if f.runningFor > 0 && !slices.Contains(txnRunning, t.TransactionState) {
		return false // brokers count from when the last transaction began, though it has ended
	}
	return passes(f.states, t.TransactionState) && (len(f.producers) == 0 || slices.Contains(f.producers, t.ProducerID)) &&
		(f.pattern == "" || f.matches.MatchString(t.TransactionalID))
}

func (a *app) listTxns(cmd *cobra.Command, f *txnFilter) error {
	client, err := a.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer client.Close()
	type row struct {
		kmsg.ListTransactionsResponseTransactionState
		coordinator int32
	}
	var txns []row
	for _, shard := range client.RequestSharded(cmd.Context(), f.request()) {
		if shard.Err != nil {
			return fmt.Errorf("list transactions: %w", shard.Err)
		}
		resp := shard.Resp.(*kmsg.ListTransactionsResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return fmt.Errorf("list transactions: %w", named(err))
		}
		if f.runningFor > 0 && resp.Version < 1 {
			return fmt.Errorf("broker %d does not tell how long transactions run: leave --running-for out (%w)", shard.Meta.NodeID, &shortError{kerr.UnsupportedVersion})
		}
		for _, t := range resp.TransactionStates {
			if f.passes(&t) {
				txns = append(txns, row{t, shard.Meta.NodeID})
			}
		}
	}
	slices.SortFunc(txns, func(a, b row) int { return cmp.Compare(a.TransactionalID, b.TransactionalID) })
	list := newListing("TransactionList", column{name: "transactional_id"}, column{name: "state"}, column{name: "producer_id"},
		column{name: "coordinator", wide: true})
	for _, t := range txns {
		list.add(nil, t.TransactionalID, t.TransactionState, t.ProducerID, t.coordinator)
	}
	return a.print(list)
}
