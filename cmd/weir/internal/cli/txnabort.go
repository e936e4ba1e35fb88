package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (a *app) txnAbortCommand() *cobra.Command {
	var yes, dryRun bool
	var at string
	var producer int64
	cmd := &cobra.Command{
		Use: "abort ID... | abort --hanging TOPIC:PARTITION --producer ID", Short: "Abort open transactions",
		Long: `Abort the open transaction of transactional ids. The producer of each is fenced: it
fails at its next request, and goes on only when it begins anew. A transaction that
ended meanwhile is left alone, and so is the one that followed it.

With --hanging, abort in one partition a transaction of which no coordinator knows,
as txn hanging lists them. The broker does not ask whether that is so: what a
producer still writes in such a transaction is lost.`,
		Example: `  weir txn abort payments-1 --dry-run
  weir txn abort --hanging orders:3 --producer 4711 --yes`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			hanging := cmd.Flags().Changed("hanging")
			switch {
			case hanging && len(args) > 0:
				return usagef("--hanging and transactional ids exclude each other")
			case hanging != cmd.Flags().Changed("producer"):
				return usagef("--hanging TOPIC:PARTITION and --producer ID belong together")
			case !hanging && len(args) == 0:
				return usagef("%s needs transactional ids, or --hanging", cmd.CommandPath())
			}
			if hanging {
				return a.abortHanging(cmd, at, producer, yes, dryRun)
			}
			ab := abortion{app: a, ids: args}
			if err := ab.look(cmd); err != nil {
				return err
			}
			if !dryRun && ab.any() {
				if err := a.confirm(cmd.Context(), "Abort them, and fence their producers?", yes); err != nil {
					return err
				}
			}
			return ab.run(cmd, dryRun)
		},
		ValidArgsFunction: a.completeTxns(-1),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be aborted")
	cmd.Flags().StringVar(&at, "hanging", "", "abort what hangs in this partition, TOPIC:PARTITION")
	cmd.Flags().Int64Var(&producer, "producer", 0, "with --hanging, the producer id of the transaction")
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

// abortion is one run of txn abort.
type abortion struct {
	*app
	ids  []string
	txns []*txnView
}

// look finds out what there is to abort, and tells it.
func (ab *abortion) look(cmd *cobra.Command) error {
	ctx, client, done, err := ab.admin(cmd)
	if err != nil {
		return err
	}
	defer done()
	if ab.txns, err = describeTxns(ctx, client, ab.ids); err != nil {
		return err
	}
	for _, v := range ab.txns {
		if v.err == nil && v.running() {
			fmt.Fprintf(ab.Stderr, "transaction of %s (%s): producer %d, epoch %d, for %v, in %v\n",
				v.TxnID, v.State, v.ProducerID, v.ProducerEpoch, v.age(ab.Now()), partitionSet(v.Topics))
		}
	}
	return nil
}

// any is whether there is anything to abort.
func (ab *abortion) any() bool {
	for _, v := range ab.txns {
		if v.err == nil && v.running() {
			return true
		}
	}
	return false
}

func (ab *abortion) run(cmd *cobra.Command, dry bool) error {
	list := newListing("TransactionAbortResult", column{name: "transactional_id"}, column{name: "partitions"}, column{name: "status"})
	var client *kgo.Client
	if !dry && ab.any() {
		var err error
		if client, err = ab.connect(cmd.Context()); err != nil {
			return err
		}
		defer client.Close()
	}
	for _, v := range ab.txns {
		status, err := "failed", v.err
		switch {
		case err != nil:
		case !v.running():
			status = "unchanged"
		case dry:
			status = "would be aborted"
		default:
			if err = ab.abort(cmd.Context(), client, v); err == nil {
				status = "aborted"
			}
		}
		list.add(err, v.TxnID, partitionSet(v.Topics), status)
	}
	return ab.print(list)
}

// betweenTries is how long a broker that is not ready yet is left alone.
const betweenTries = 100 * time.Millisecond

// abort takes the place of the producer, with the epoch that was looked at, so that a
// transaction that began since is not meant (KIP-360). A broker that still writes markers
// is asked until it has.
func (ab *abortion) abort(ctx context.Context, client *kgo.Client, v *txnView) error {
	ctx, cancel := context.WithTimeout(ctx, 2*ab.timeout)
	defer cancel()
	for {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis = &v.TxnID, max(v.TimeoutMillis, 1)
		req.ProducerID, req.ProducerEpoch = v.ProducerID, v.ProducerEpoch
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		if resp.Version < 3 {
			return fmt.Errorf("the broker cannot abort the transaction of one epoch, and might abort a later one: %w", &shortError{kerr.UnsupportedVersion})
		}
		err = kerr.ErrorForCode(resp.ErrorCode)
		switch {
		case errors.Is(err, kerr.ConcurrentTransactions):
		case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch):
			return fmt.Errorf("it has ended, or has a new producer, since it was looked at: %w", named(err))
		default:
			return named(err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the broker has not ended it yet: %w", &shortError{kerr.ConcurrentTransactions})
		case <-time.After(betweenTries):
		}
	}
}
