package shop

// Totals are the answers of one day that a run is checked by.
type Totals struct {
	Lines int // of the file

	// Stock.
	Pieces   int // left the shop, returns taken off
	LowStock int // products below the reorder point

	// Fraud.
	LargeReturns int
	Bursts       int // customers

	// Baskets.
	Pairs    int // different pairs bought together
	TopPair  Pair
	TopCount int // invoices that hold the top pair

	// Lines refused, by the state that refused them.
	BadStock, BadFraud, BadBaskets int
}

// Total puts the answers of the three states together.
func Total(s *Stock, f *Fraud, b *Baskets) Totals {
	t := Totals{
		Pieces: s.Pieces(), LowStock: len(s.Low()),
		LargeReturns: f.LargeReturns(), Bursts: len(f.Bursts()),
	}
	pairs := b.Together()
	t.Pairs = len(pairs)
	if top := Top(pairs, 1); len(top) > 0 {
		t.TopPair, t.TopCount = top[0], pairs[top[0]]
	}
	return t
}

// Expected computes the totals from the lines alone, without a broker.
func Expected(lines []Line) Totals {
	s, f, b := NewStock(), NewFraud(), NewBaskets()
	var badStock, badFraud, badBaskets int
	for _, l := range lines {
		if _, _, err := s.Add(l); err != nil {
			badStock++
		}
		if _, _, err := f.Add(l); err != nil {
			badFraud++
		}
		if _, err := b.Add(l); err != nil {
			badBaskets++
		}
	}
	t := Total(s, f, b)
	t.Lines = len(lines)
	t.BadStock, t.BadFraud, t.BadBaskets = badStock, badFraud, badBaskets
	return t
}
