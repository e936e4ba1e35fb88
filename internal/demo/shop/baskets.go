package shop

import (
	"cmp"
	"errors"
	"maps"
	"slices"
)

// MaxBasket is the number of products above which an invoice says nothing of
// taste: somebody stocks up a shop of their own.
const MaxBasket = 100

// ErrNoDescription refuses a product that could not be shown to a customer.
var ErrNoDescription = errors.New("description is empty: nothing to show to a customer")

// Pair is two products bought together, First < Second.
type Pair struct{ First, Second string }

// Baskets finds which products are on one invoice together.
type Baskets struct {
	baskets map[string]map[string]bool // products by invoice
	names   map[string]string          // descriptions by product
}

// NewBaskets begins a day.
func NewBaskets() *Baskets {
	return &Baskets{baskets: map[string]map[string]bool{}, names: map[string]string{}}
}

// Add puts a line into its invoice's basket; returns are passed over. It returns
// how many products the basket holds now.
func (b *Baskets) Add(l Line) (products int, err error) {
	if l.Description == "" {
		return 0, ErrNoDescription
	}
	if l.Quantity <= 0 {
		return 0, nil
	}
	if b.baskets[l.Invoice] == nil {
		b.baskets[l.Invoice] = map[string]bool{}
	}
	b.baskets[l.Invoice][l.StockCode] = true
	b.names[l.StockCode] = max(b.names[l.StockCode], l.Description)
	return len(b.baskets[l.Invoice]), nil
}

// Together counts for each pair the baskets that hold both.
func (b *Baskets) Together() map[Pair]int {
	pairs := map[Pair]int{}
	for _, products := range b.baskets {
		if len(products) > MaxBasket {
			continue
		}
		codes := slices.Sorted(maps.Keys(products))
		for i, first := range codes {
			for _, second := range codes[i+1:] {
				pairs[Pair{first, second}]++
			}
		}
	}
	return pairs
}

// Top lists the n pairs bought together most often, given what Together found.
func Top(pairs map[Pair]int, n int) []Pair {
	all := slices.SortedFunc(maps.Keys(pairs), func(x, y Pair) int {
		return cmp.Or(pairs[y]-pairs[x], cmp.Compare(x.First, y.First), cmp.Compare(x.Second, y.Second))
	})
	return all[:min(n, len(all))]
}

// Name is a product's description.
func (b *Baskets) Name(stockCode string) string { return b.names[stockCode] }

// Merge adds what another member of the group saw.
func (b *Baskets) Merge(o *Baskets) {
	for invoice, products := range o.baskets {
		if b.baskets[invoice] == nil {
			b.baskets[invoice] = map[string]bool{}
		}
		maps.Copy(b.baskets[invoice], products)
	}
	for code, name := range o.names {
		b.names[code] = max(b.names[code], name)
	}
}
