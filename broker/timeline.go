package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/storage"
)

// ErrNoGroup is returned for a group of which nothing is known.
var ErrNoGroup = errors.New("no such group")

// GroupEvent is one thing that happened to a consumer group: who joined, left or
// timed out, and why a rebalance began. What does not apply is zero.
type GroupEvent struct {
	Time       time.Time
	Kind       string // in plain words: "joined", "left", "timed out", "rebalance began", …
	Generation int32  // of a classic group after the event; the epoch of a consumer group
	MemberID   string
	InstanceID string // of a static member (KIP-345)
	ClientID   string
	ClientHost string // as Kafka prints it: "/127.0.0.1"
	Reason     string // in plain words; what the client gave as its own (KIP-800) is quoted in it
	// Duration of what ended: of the rebalance when the group became stable, of the
	// silence of a member that timed out.
	Duration time.Duration
	// PartitionsMoved is how many partitions a new assignment took from a member; -1
	// when the group's assignments are not the consumer protocol's.
	PartitionsMoved int
	Members         int // how many the group has after the event
}

// GroupTimeline tells the last events of a group, the oldest first, at most 100,
// also of one that was deleted not long ago. Events are kept in memory: after a
// restart of the broker they begin anew. The error is ErrNoGroup when nothing is
// known of the group.
func (b *Broker) GroupTimeline(ctx context.Context, groupID string) ([]GroupEvent, error) {
	return b.coordinator.timeline(ctx, groupID)
}

func (c *coordinator) timeline(ctx context.Context, groupID string) ([]GroupEvent, error) {
	s := c.shardOf(groupID)
	if s == nil {
		return nil, fmt.Errorf("%w: %q, no group has ever been on this broker", ErrNoGroup, groupID)
	}
	type answer struct {
		events []group.Event
		known  bool
		code   int16
	}
	answers := make(chan answer, 1)
	s.send(ctx, task{
		step: func(s *shard, _ time.Time) func(storage.LSN) {
			events, known := s.core.Timeline(groupID)
			return func(storage.LSN) { answers <- answer{events: events, known: known} }
		},
		fail: func(code int16) { answers <- answer{code: code} },
	})
	select {
	case a := <-answers:
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case a.code != 0:
			return nil, fmt.Errorf("timeline of group %q: %w", groupID, kerr.ErrorForCode(a.code))
		case !a.known:
			return nil, fmt.Errorf("%w: %q", ErrNoGroup, groupID)
		}
		list := make([]GroupEvent, len(a.events))
		for i := range a.events {
			list[i] = eventOf(&a.events[i])
		}
		return list, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func eventOf(e *group.Event) GroupEvent {
	return GroupEvent{
		Time: e.At, Kind: string(e.Kind), Generation: e.Epoch,
		MemberID: e.Member, InstanceID: e.Instance, ClientID: e.Client, ClientHost: e.Host,
		Reason: e.Reason, Duration: e.Duration, PartitionsMoved: e.Moved, Members: e.Members,
	}
}

// timelineEvent is a GroupEvent as the admin address tells it.
type timelineEvent struct {
	Time            time.Time `json:"time"` // RFC 3339, UTC
	Kind            string    `json:"kind"`
	Generation      int32     `json:"generation"`
	MemberID        string    `json:"memberId,omitempty"`
	InstanceID      string    `json:"instanceId,omitempty"`
	ClientID        string    `json:"clientId,omitempty"`
	ClientHost      string    `json:"clientHost,omitempty"`
	Reason          string    `json:"reason,omitempty"`
	DurationMs      float64   `json:"durationMs,omitempty"`
	PartitionsMoved *int      `json:"partitionsMoved,omitempty"` // only of assignments that the broker can read
	Members         int       `json:"members"`
}

// serveTimeline answers GET /groups/{group}/timeline.
func (b *Broker) serveTimeline(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("group")
	events, err := b.GroupTimeline(r.Context(), id)
	answer := struct {
		Group  string          `json:"group"`
		Events []timelineEvent `json:"events,omitempty"`
		Error  string          `json:"error,omitempty"`
	}{Group: id}
	status := http.StatusOK
	switch {
	case errors.Is(err, ErrNoGroup):
		status, answer.Error = http.StatusNotFound, err.Error()+": weir group list shows those that there are"
	case err != nil:
		status, answer.Error = http.StatusServiceUnavailable, err.Error()
	}
	for i := range events {
		answer.Events = append(answer.Events, toldEvent(&events[i]))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the asker is gone if it fails
}

func toldEvent(e *GroupEvent) timelineEvent {
	t := timelineEvent{
		Time: e.Time.UTC(), Kind: e.Kind, Generation: e.Generation,
		MemberID: e.MemberID, InstanceID: e.InstanceID, ClientID: e.ClientID, ClientHost: e.ClientHost,
		Reason: e.Reason, DurationMs: float64(e.Duration) / float64(time.Millisecond), Members: e.Members,
	}
	if slices.Contains(assignmentKinds, group.EventKind(e.Kind)) && e.PartitionsMoved >= 0 {
		t.PartitionsMoved = &e.PartitionsMoved
	}
	return t
}

var assignmentKinds = []group.EventKind{group.EventAssignmentComputed, group.EventStable}
