package weir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// prepareTopics creates the dead-letter topics that are missing, with the broker's
// defaults: that one cannot be written is better known at the start than with
// the first dead letter. Missing topics to consume are only told of, since they
// may be made by whoever fills them.
func (a *App) prepareTopics(ctx context.Context) error {
	var consumed, dead []string
	for _, s := range a.subs {
		consumed = append(consumed, s.topic)
		if d := s.policy.deadLetter; d != "" && !slices.Contains(dead, d) {
			dead = append(dead, d)
		}
	}
	adm := kadm.NewClient(a.client)
	have, err := adm.ListTopics(ctx, append(slices.Clone(consumed), dead...)...)
	if err != nil {
		return fmt.Errorf("weir: ask %v for the topics: %w", a.cfg.Brokers, err)
	}
	for _, t := range consumed {
		if !have.Has(t) && !slices.Contains(dead, t) {
			a.cfg.Logger.Warn("the topic does not exist yet; its records are handled once it does", "topic", t)
		}
	}
	dead = slices.DeleteFunc(dead, func(t string) bool { return have.Has(t) })
	if len(dead) == 0 {
		return nil
	}
	made, err := adm.CreateTopics(ctx, -1, -1, nil, dead...)
	if err != nil {
		return fmt.Errorf("weir: create the dead-letter topics %v: %w", dead, err)
	}
	for _, t := range made.Sorted() {
		if t.Err != nil && !errors.Is(t.Err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("weir: the dead-letter topic %s is missing and cannot be created; create it, or choose another with DeadLetter, or none with NoDeadLetter: %w", t.Topic, t.Err)
		}
	}
	return nil
}

// clientLogger passes the client's warnings and errors on.
type clientLogger struct{ log *slog.Logger }

func (clientLogger) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (l clientLogger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelWarn
	if level == kgo.LogLevelError {
		to = slog.LevelError
	}
	l.log.Log(context.Background(), to, msg, keyvals...)
}
