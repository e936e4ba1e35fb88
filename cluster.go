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

// ensureDeadLetterTopics creates the missing ones with the broker's defaults:
// that a topic cannot be written is better known at the start than with the
// first dead letter.
func (a *App) ensureDeadLetterTopics(ctx context.Context) error {
	var want []string
	for _, s := range a.subs {
		if d := s.policy.deadLetter; d != "" && !slices.Contains(want, d) {
			want = append(want, d)
		}
	}
	if len(want) == 0 {
		return nil
	}
	adm := kadm.NewClient(a.client)
	have, err := adm.ListTopics(ctx, want...)
	if err != nil {
		return fmt.Errorf("weir: ask %v for the dead-letter topics: %w", a.cfg.Brokers, err)
	}
	want = slices.DeleteFunc(want, func(t string) bool { return have.Has(t) })
	if len(want) == 0 {
		return nil
	}
	made, err := adm.CreateTopics(ctx, -1, -1, nil, want...)
	if err != nil {
		return fmt.Errorf("weir: create the dead-letter topics %v: %w", want, err)
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
