package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// write saves what is, then commits what shall be. A partition that cannot be
// moved keeps all others where they are.
func (r *reset) write(ctx context.Context, client *kadm.Client, moves []move) error {
	var changing []move
	for _, m := range moves {
		if m.err != nil {
			r.notef("nothing was written: not all partitions can be moved")
			return r.show("GroupResetResult", moves, "not written", nil)
		}
		if m.changes() {
			changing = append(changing, m)
		}
	}
	if len(changing) == 0 {
		r.notef("nothing to change")
		return r.show("GroupResetResult", moves, "changed", nil)
	}
	name := r.undo
	if name == "" {
		name = undoName(r.group, r.now)
	}
	if err := writeUndo(name, undoOf(r.group, changing, r.now)); err != nil {
		return fmt.Errorf("nothing was written, for there is no undo: %w", err)
	}
	r.notef("to take it back: %s group reset %s --from-file %s --execute%s", r.program(), quoted(r.group), quoted(name), r.where())
	failures, err := r.commit(ctx, client, changing)
	if err != nil {
		return err
	}
	return r.show("GroupResetResult", moves, "changed", failures)
}

// where is the address again, if it was given as a flag.
func (r *reset) where() string {
	if len(r.brokers) == 0 {
		return ""
	}
	return " -b " + quoted(strings.Join(r.brokers, ","))
}

// commit writes the offsets in one request, and in another deletes those that an
// undo finds there were none of.
func (r *reset) commit(ctx context.Context, client *kadm.Client, moves []move) (map[mark]error, error) {
	offsets, none := kadm.Offsets{}, kadm.TopicsSet{}
	for _, m := range moves {
		if m.after == nil {
			none.Add(m.topic, m.partition)
		} else {
			offsets.Add(*m.after)
		}
	}
	failures := map[mark]error{}
	if len(offsets) > 0 {
		written, err := client.CommitOffsets(ctx, r.group, offsets)
		if err != nil {
			return nil, fmt.Errorf("commit offsets of group %s (they may be written): %w", r.group, named(err))
		}
		written.EachError(func(o kadm.OffsetResponse) { failures[mark{o.Topic, o.Partition}] = r.meanwhile(o.Err) })
	}
	deleted, err := client.DeleteOffsets(ctx, r.group, none)
	if err != nil {
		return nil, fmt.Errorf("delete offsets of group %s: %w", r.group, r.meanwhile(err))
	}
	deleted.EachError(func(topic string, p int32, err error) { failures[mark{topic, p}] = r.meanwhile(err) })
	return failures, nil
}

// meanwhile explains the errors of a group that has members after all.
func (r *reset) meanwhile(err error) error {
	for _, joined := range []error{kerr.UnknownMemberID, kerr.NonEmptyGroup, kerr.GroupSubscribedToTopic, kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.StaleMemberEpoch} {
		if errors.Is(err, joined) {
			return fmt.Errorf("a member joined meanwhile: stop it, then reset again: %w", named(err))
		}
	}
	return named(err)
}

// quoted is a word for a shell to read.
func quoted(word string) string {
	if strings.IndexFunc(word, func(r rune) bool {
		return r != '-' && r != '_' && !strings.ContainsRune("./:,", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0 && word != "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
