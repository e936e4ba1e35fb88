package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (a *app) groupCommand() *cobra.Command {
	return a.group("group", "List, explain, reset and delete consumer groups", "",
		a.groupListCommand(), a.groupDescribeCommand(), a.groupMembersCommand(),
		a.groupDeleteCommand(), a.groupResetCommand(), a.groupTimelineCommand())
}

// committedOffsets asks where a group stands; a group that never committed
// stands nowhere, which is no error.
func committedOffsets(ctx context.Context, client *kadm.Client, group string) (kadm.OffsetResponses, error) {
	offsets, err := client.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	return offsets, nil
}
