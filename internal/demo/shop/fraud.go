package shop

import (
	"errors"
	"maps"
	"slices"
	"time"
)

const (
	// LargeReturnPence is the value from which on a returned line is reported.
	LargeReturnPence = 15_00
	// BurstInvoices within BurstWindow of one customer are reported.
	BurstInvoices = 3
	BurstWindow   = time.Hour
)

// ErrNoCustomer refuses a return that nobody brought.
var ErrNoCustomer = errors.New("return without a customer: nobody to ask about it")

// Fraud watches returns and customers.
type Fraud struct {
	returns  int
	invoices map[string]map[string]time.Time // by customer and invoice
}

// NewFraud begins a day.
func NewFraud() *Fraud { return &Fraud{invoices: map[string]map[string]time.Time{}} }

// Add looks at a line. largeReturn tells that the line itself is suspicious;
// burst that it is the one that made its customer so.
func (f *Fraud) Add(l Line) (largeReturn, burst bool, err error) {
	if l.Quantity < 0 && l.Customer == "" {
		return false, false, ErrNoCustomer
	}
	if -l.Quantity*l.PricePence >= LargeReturnPence {
		f.returns++
		largeReturn = true
	}
	if l.Customer == "" {
		return largeReturn, false, nil
	}
	of := f.invoices[l.Customer]
	if of == nil {
		of = map[string]time.Time{}
		f.invoices[l.Customer] = of
	}
	if _, known := of[l.Invoice]; known {
		return largeReturn, false, nil
	}
	before := isBurst(of)
	of[l.Invoice] = l.Time
	return largeReturn, !before && isBurst(of), nil
}

// isBurst tells whether a window holds enough invoices, whatever the order in
// which they were seen.
func isBurst(invoices map[string]time.Time) bool {
	times := slices.SortedFunc(maps.Values(invoices), time.Time.Compare)
	for i := BurstInvoices - 1; i < len(times); i++ {
		if times[i].Sub(times[i-BurstInvoices+1]) <= BurstWindow {
			return true
		}
	}
	return false
}

// LargeReturns is the number of suspicious returns.
func (f *Fraud) LargeReturns() int { return f.returns }

// Bursts lists the customers with a burst, sorted.
func (f *Fraud) Bursts() []string {
	var found []string
	for customer, invoices := range f.invoices {
		if isBurst(invoices) {
			found = append(found, customer)
		}
	}
	slices.Sort(found)
	return found
}

// Merge adds what another member of the group saw.
func (f *Fraud) Merge(o *Fraud) {
	f.returns += o.returns
	for customer, invoices := range o.invoices {
		if f.invoices[customer] == nil {
			f.invoices[customer] = map[string]time.Time{}
		}
		maps.Copy(f.invoices[customer], invoices)
	}
}
