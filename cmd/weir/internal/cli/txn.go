package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (a *app) txnCommand() *cobra.Command {
	return a.group("txn", "List, explain and abort transactions", "",
		a.txnListCommand(), a.txnDescribeCommand(), a.txnHangingCommand(), a.txnAbortCommand())
}

// completeTxns offers the transactional ids that there are.
func (a *app) completeTxns(most int) cobra.CompletionFunc {
	return a.completeNames(most, func(ctx context.Context, client *kadm.Client) []string {
		txns, err := client.ListTransactions(ctx, nil, nil)
		if err != nil {
			return nil
		}
		return txns.TransactionalIDs()
	})
}

// txnView is what a coordinator knows of a transactional id.
type txnView struct {
	kadm.DescribedTransaction
	err error
}

// txnRunning are the states of a transaction that is open, or has begun to end.
var txnRunning = []string{"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"}

func (v *txnView) running() bool { return slices.Contains(txnRunning, v.State) }

// age is how long a transaction has run; nil if none runs.
func (v *txnView) age(now time.Time) any {
	if !v.running() || v.StartTimestamp <= 0 {
		return nil
	}
	return lasted(now.Sub(time.UnixMilli(v.StartTimestamp)))
}

// lasted is a time as it is read: what is long needs no milliseconds.
func lasted(d time.Duration) string {
	d = max(d, 0)
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

// describeTxns asks for ids, each once, in the order in which they were given. Apache Kafka
// makes the coordinators' topic when it is first asked for one, and says until then that
// there is none, so it is asked again.
func describeTxns(ctx context.Context, client *kadm.Client, ids []string) ([]*txnView, error) {
	described, err := client.DescribeTransactions(ctx, ids...)
	for errors.Is(err, kerr.CoordinatorNotAvailable) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(betweenTries):
			described, err = client.DescribeTransactions(ctx, ids...)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("describe transactions: %w", named(err))
	}
	var views []*txnView
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		v := &txnView{DescribedTransaction: described[id]}
		v.TxnID, v.err = id, unknownTxn(id, described[id].Err)
		views = append(views, v)
	}
	return views, nil
}
