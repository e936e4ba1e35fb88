package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// churnTopic lives many short lives. Nothing of one may be seen in the next.
const churnTopic = "sim-churn"

// churn creates the topic, writes, reads all of it, and deletes it, again and
// again until ctx ends.
func (l *Load) churn(ctx context.Context) {
	for ctx.Err() == nil {
		l.lives++
		if err := l.live(ctx, fmt.Sprintf("%s#%d", churnTopic, l.lives), 1000+l.lives); err != nil && ctx.Err() == nil {
			l.cfg.Ledger.Add(Broken{Anomaly{TopicLost, err.Error()}})
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// live is one life of the topic. Its client knows nothing of earlier lives.
func (l *Load) live(ctx context.Context, life string, id int32) error {
	ledger := l.cfg.Ledger
	ledger.Add(Deleted{life}) // what is left when the load ends is not checked again
	cl, err := l.cfg.Target.client(kgo.DefaultProduceTopic(churnTopic), kgo.UnknownTopicRetries(20))
	if err != nil {
		return err
	}
	defer cl.Close()
	defer context.AfterFunc(ctx, cl.Close)() // a record on its way does not heed its context
	admin := kadm.NewClient(cl)
	err = stubborn(ctx, func(ctx context.Context) error {
		_, err := admin.CreateTopic(ctx, 1, -1, nil, churnTopic)
		if errors.Is(err, kerr.TopicAlreadyExists) {
			return nil // an attempt without an answer was carried out
		}
		return err
	})
	if err != nil {
		return err
	}
	ledger.Add(Writes{Writer: id})
	switch err = l.fill(ctx, cl, life, id); {
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return fmt.Errorf("%s was created: %w", life, err)
	case err == nil:
		err = l.check(ctx, life)
	default:
		err = nil // the client gave up after many failures; the life ends here
	}
	if err != nil {
		return err
	}
	err = stubborn(ctx, func(ctx context.Context) error {
		_, err := admin.DeleteTopic(ctx, churnTopic)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return nil // an attempt without an answer was carried out
		}
		return err
	})
	if err != nil {
		return err
	}
	return l.checkDeleted(ctx, admin, life)
}

// fill writes 50 records, one after another.
func (l *Load) fill(ctx context.Context, cl *kgo.Client, life string, id int32) error {
	for seq := range int64(50) {
		r := Record{id, seq}
		l.cfg.Ledger.Add(Sent{r, Partition{life, 0}})
		rec, err := cl.ProduceSync(ctx, &kgo.Record{Value: value(r, 100)}).First()
		if err != nil {
			l.cfg.Ledger.Add(Unknown{r})
			return err
		}
		l.cfg.Ledger.Add(Acked{r, rec.Offset})
	}
	return nil
}

// check reads the life's records with a ledger of its own for the comparison,
// and with the load's for what does not belong there.
func (l *Load) check(ctx context.Context, life string) error {
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	own := NewLedger(l.cfg.Ledger.durability)
	id := l.lives + 1000
	for seq := range int64(50) {
		own.Add(Sent{Record{id, seq}, Partition{life, 0}})
		own.Add(Acked{Record{id, seq}, seq})
	}
	if err := readBack(limited, l.cfg.Target, own, churnTopic, life); err != nil || ctx.Err() != nil {
		return err
	}
	own.Finish()
	for _, a := range own.First() {
		l.cfg.Ledger.Add(Broken{a})
	}
	return nil
}

func (l *Load) checkDeleted(ctx context.Context, admin *kadm.Client, life string) error {
	return stubborn(ctx, func(ctx context.Context) error {
		topics, err := admin.ListTopics(ctx)
		if err == nil && topics.Has(churnTopic) {
			l.cfg.Ledger.Add(Broken{Anomaly{TopicUndead, life + " is there after its deletion was acknowledged"}})
		}
		return err
	})
}
