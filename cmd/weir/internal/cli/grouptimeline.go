package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) groupTimelineCommand() *cobra.Command {
	var admin string
	cmd := &cobra.Command{
		Use: "timeline GROUP", Short: "Show what happened to a group, and why it rebalanced",
		Long: `Show the last events of a group, at most 100: who joined, left or timed out, why
it rebalanced, how long that took, and how many partitions moved. It is the one
command about groups that needs weir's own broker, with --admin; the broker keeps
the events in memory, so after a restart they begin anew.`,
		Example: `  weir group timeline stock
  weir group timeline stock --admin localhost:9644 -O json`,
		Args: positional(1, 1, "the name of a group"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			if err := checkAddress("--admin", admin); err != nil {
				return err
			}
			events, err := fetchTimeline(cmd.Context(), admin, args[0])
			if err != nil {
				return err
			}
			return a.print(timelineListing(events))
		},
		ValidArgsFunction: a.completeGroups(1),
	}
	cmd.Flags().StringVar(&admin, "admin", defaultAdmin, "the broker's admin address, as weir serve --admin has it")
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

// timelineEvent is an event in the answer of the admin address.
type timelineEvent struct {
	Time       time.Time `json:"time"`
	Kind       string    `json:"kind"`
	Generation int32     `json:"generation"`
	MemberID   string    `json:"memberId"`
	InstanceID string    `json:"instanceId"`
	ClientID   string    `json:"clientId"`
	ClientHost string    `json:"clientHost"`
	Reason     string    `json:"reason"`
	DurationMS *float64  `json:"durationMs"`
	Moved      *int      `json:"partitionsMoved"`
	Members    *int      `json:"members"`
}

// maxTimeline is more than a hundred events take.
const maxTimeline = 4 << 20

func fetchTimeline(ctx context.Context, admin, group string) ([]timelineEvent, error) {
	response, err := askAdmin(ctx, admin, http.MethodGet, "/groups/"+url.PathEscape(group)+"/timeline", "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxTimeline))
	if err != nil {
		return nil, firstError(ctx.Err(), &exitError{ExitFailed, fmt.Errorf("read the timeline of group %s: %w", group, err)})
	}
	var answer struct {
		Events []timelineEvent `json:"events"`
		Error  string          `json:"error"`
	}
	broken := json.Unmarshal(body, &answer)
	switch {
	case response.StatusCode == http.StatusOK && broken == nil:
		return answer.Events, nil
	case response.StatusCode == http.StatusOK:
		return nil, fmt.Errorf("the broker at %s answers no timeline: %w", admin, broken)
	case broken != nil: // not an answer about a group
		return nil, fmt.Errorf("what answers at %s has no timelines (%s): name the admin address of weir's broker with --admin", admin, response.Status)
	}
	return nil, errors.New(strings.TrimSpace(answer.Error))
}

func timelineListing(events []timelineEvent) *listing {
	list := newListing("GroupTimeline", column{name: "time"}, column{name: "event"}, column{name: "epoch"}, column{name: "members"},
		column{name: "client_id"}, column{name: "instance_id", wide: true}, column{name: "member", wide: true}, column{name: "host", wide: true},
		column{name: "duration_ms"}, column{name: "moved"}, column{name: "reason"})
	for _, e := range events {
		list.add(nil, e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), e.Kind, e.Generation, pointed(e.Members), orNil(e.ClientID), orNil(e.InstanceID),
			orNil(e.MemberID), orNil(e.ClientHost), pointed(e.DurationMS), pointed(e.Moved), orNil(e.Reason))
	}
	return list
}
