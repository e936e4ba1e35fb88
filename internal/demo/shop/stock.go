package shop

import (
	"cmp"
	"errors"
	"slices"
)

const (
	// OpeningStock is what the shop has of each product in the morning. The data
	// do not say; the number is chosen so that some products run low.
	OpeningStock = 250
	// ReorderPoint is the level below which a product must be reordered.
	ReorderPoint = 50
)

// ErrNoPrice refuses a line whose price is 0: a write-off, not a sale.
var ErrNoPrice = errors.New("price is 0: no sale, the stock book cannot value it")

// Stock is the stock book: what was sold and returned of each product.
type Stock struct {
	sold map[string]int
}

// NewStock is the book of the morning.
func NewStock() *Stock { return &Stock{sold: map[string]int{}} }

// Add books a line. It returns the level left and whether this line took it
// below the reorder point.
func (s *Stock) Add(l Line) (level int, low bool, err error) {
	if l.PricePence == 0 {
		return 0, false, ErrNoPrice
	}
	before := s.Level(l.StockCode)
	s.sold[l.StockCode] += l.Quantity
	level = s.Level(l.StockCode)
	return level, before >= ReorderPoint && level < ReorderPoint, nil
}

// Level is what is left of a product.
func (s *Stock) Level(stockCode string) int { return OpeningStock - s.sold[stockCode] }

// Pieces is the number of pieces that left the shop, returns taken off.
func (s *Stock) Pieces() (n int) {
	for _, sold := range s.sold {
		n += sold
	}
	return n
}

// Low lists the products below the reorder point, the scarcest first.
func (s *Stock) Low() []string {
	var low []string
	for code := range s.sold {
		if s.Level(code) < ReorderPoint {
			low = append(low, code)
		}
	}
	slices.SortFunc(low, func(a, b string) int {
		return cmp.Or(s.Level(a)-s.Level(b), cmp.Compare(a, b))
	})
	return low
}

// Merge adds what another member of the group booked.
func (s *Stock) Merge(o *Stock) {
	for code, n := range o.sold {
		s.sold[code] += n
	}
}
