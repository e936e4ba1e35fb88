package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (a *app) txnDescribeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe ID...", Short: "Show who runs a transaction, since when, and in which partitions",
		Long: `Show what the coordinator knows of transactional ids: their state, producer and
epoch, and of an open transaction how long it has run and which partitions it
holds. Consumers that read committed records only wait at those partitions until
it ends, at the latest after its timeout.`,
		Example: `  weir txn describe payments-1
  weir txn describe payments-1 payments-2 -O json`,
		Args: positional(1, -1, "transactional ids"),
		RunE: a.asking(func(ctx context.Context, client *kadm.Client, args []string) error {
			views, err := describeTxns(ctx, client, args)
			if err != nil {
				return err
			}
			list := newListing("TransactionDescription", column{name: "transactional_id"}, column{name: "state"},
				column{name: "producer_id"}, column{name: "epoch"}, column{name: "age"}, column{name: "timeout_ms"},
				column{name: "partitions"}, column{name: "started", wide: true}, column{name: "coordinator", wide: true})
			for _, v := range views {
				if v.err != nil {
					list.add(v.err, v.TxnID, nil, nil, nil, nil, nil, nil, nil, nil)
					continue
				}
				list.add(nil, v.TxnID, v.State, v.ProducerID, v.ProducerEpoch, v.age(a.Now()), v.TimeoutMillis,
					partitionSet(v.Topics), v.started(), v.Coordinator)
			}
			return a.print(list)
		}),
		ValidArgsFunction: a.completeTxns(-1),
	}
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

func (v *txnView) started() any {
	if !v.running() || v.StartTimestamp <= 0 {
		return nil
	}
	return time.UnixMilli(v.StartTimestamp).UTC().Format("2006-01-02T15:04:05.000Z")
}

func unknownTxn(id string, err error) error {
	if errors.Is(err, kerr.TransactionalIDNotFound) {
		return fmt.Errorf("there is no transactional id %q: %w", id, &shortError{kerr.TransactionalIDNotFound})
	}
	return named(err)
}
