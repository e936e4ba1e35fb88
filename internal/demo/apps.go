package demo

import (
	"context"
	"sync"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/internal/demo/shop"
)

// The names of the applications, which are their consumer groups.
const (
	stockGroup     = "stock"
	fraudGroup     = "fraud"
	recommendGroup = "recommendations"
)

// applications is what the three applications have found so far. Handlers of
// different partitions run at the same time, hence the locks; none is held
// while a record is produced.
type applications struct {
	stock struct {
		sync.Mutex
		*shop.Stock
	}
	fraud struct {
		sync.Mutex
		*shop.Fraud
	}
	baskets struct {
		sync.Mutex
		*shop.Baskets
	}
}

func newApplications() *applications {
	a := &applications{}
	a.stock.Stock, a.fraud.Fraud, a.baskets.Baskets = shop.NewStock(), shop.NewFraud(), shop.NewBaskets()
	return a
}

// A line that no further attempt can mend is a permanent error: it goes to the
// dead letters at once, and the application goes on with the next line.

type lineHandler func(context.Context, weir.Record[string, shop.Line]) error

// handler returns what an application does with a line.
func (a *applications) handler(group string) lineHandler {
	switch group {
	case stockGroup:
		return a.handleStock
	case fraudGroup:
		return a.handleFraud
	}
	return a.handleBaskets
}

// handleStock books what left the shop, and reports a product that runs low.
func (a *applications) handleStock(ctx context.Context, rec weir.Record[string, shop.Line]) error {
	line := rec.Value
	a.stock.Lock()
	level, low, err := a.stock.Add(line)
	a.stock.Unlock()
	if err != nil {
		return weir.Permanent(err)
	}
	if !low {
		return nil
	}
	return weir.Produce(ctx, stockAlerts, line.StockCode, stockAlert{line.StockCode, line.Description, level})
}

// handleFraud reports large returns, and customers with many invoices at once.
func (a *applications) handleFraud(ctx context.Context, rec weir.Record[string, shop.Line]) error {
	line := rec.Value
	a.fraud.Lock()
	largeReturn, burst, err := a.fraud.Add(line)
	a.fraud.Unlock()
	if err != nil {
		return weir.Permanent(err)
	}
	if largeReturn {
		alert := fraudAlert{Kind: kindReturn, Customer: line.Customer, Invoice: line.Invoice, Pence: -line.Quantity * line.PricePence}
		if err := weir.Produce(ctx, fraudAlerts, line.Customer, alert); err != nil {
			return err
		}
	}
	if !burst {
		return nil
	}
	return weir.Produce(ctx, fraudAlerts, line.Customer, fraudAlert{Kind: kindBurst, Customer: line.Customer, Invoice: line.Invoice})
}

// handleBaskets notes which products are on one invoice together.
func (a *applications) handleBaskets(_ context.Context, rec weir.Record[string, shop.Line]) error {
	a.baskets.Lock()
	_, err := a.baskets.Add(rec.Value)
	a.baskets.Unlock()
	return weir.Permanent(err)
}
