package demo

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/internal/demo/shop"
)

const (
	partitions      = 6
	deadLetterTopic = "orders.dlq" // where weir.Handle puts what cannot be handled
)

// The topics and the types of their records. Lines have the invoice's number as
// key, so that the lines of one invoice stay in order, in one partition.
var (
	orders      = weir.Topic[string, shop.Line]{Name: "orders", Key: weir.String(), Value: weir.JSON[shop.Line]()}
	stockAlerts = weir.Topic[string, stockAlert]{Name: "stock-alerts", Key: weir.String(), Value: weir.JSON[stockAlert]()}
	fraudAlerts = weir.Topic[string, fraudAlert]{Name: "fraud-alerts", Key: weir.String(), Value: weir.JSON[fraudAlert]()}
)

// stockAlert says that a product has fallen below the reorder point; its key is
// the product.
type stockAlert struct {
	StockCode   string `json:"stockCode"`
	Description string `json:"description"`
	Level       int    `json:"level"` // pieces left; below 0 if more were sold than there were
}

// The kinds of fraudAlert.
const (
	kindReturn = "large-return"
	kindBurst  = "burst"
)

// fraudAlert asks somebody to look at a customer, who is its key.
type fraudAlert struct {
	Kind     string `json:"kind"`
	Customer string `json:"customer"`
	Invoice  string `json:"invoice"`
	Pence    int    `json:"pence,omitempty"` // of a large return
}

// ErrUsed is returned by Run if one of the topics exists already.
var ErrUsed = errors.New("a second day on top of the first would make the totals wrong")

// createTopics makes the topics, or nothing if one of them exists.
func createTopics(ctx context.Context, admin *kadm.Client) error {
	reports := []string{stockAlerts.Name, fraudAlerts.Name, deadLetterTopic}
	// Asked by a rehearsal and not by looking the names up: the client would
	// remember for a while that they are unknown.
	rehearsed, err := admin.ValidateCreateTopics(ctx, 1, -1, nil, append(reports, orders.Name)...)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for _, t := range rehearsed.Sorted() {
		if errors.Is(t.Err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("topic %s exists already: %w", t.Topic, ErrUsed)
		}
	}
	if _, err := admin.CreateTopic(ctx, partitions, -1, nil, orders.Name); err != nil {
		return fmt.Errorf("create topic %s: %w", orders.Name, err)
	}
	for _, name := range reports {
		if _, err := admin.CreateTopic(ctx, 1, -1, nil, name); err != nil {
			return fmt.Errorf("create topic %s: %w", name, err)
		}
	}
	return nil
}
