package shop

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestExpectedOfTheDay states the day's answers, found once by a query over the
// file with another tool.
func TestExpectedOfTheDay(t *testing.T) {
	lines, err := Day()
	if err != nil {
		t.Fatal(err)
	}
	want := Totals{
		Lines: 3108, Pieces: 26736, LowStock: 22, LargeReturns: 9, Bursts: 4,
		Pairs: 29086, TopPair: Pair{"22865", "22866"}, TopCount: 9,
		BadStock: 10, BadFraud: 1, BadBaskets: 10,
	}
	if diff := cmp.Diff(want, Expected(lines)); diff != "" {
		t.Error(diff)
	}
}

// TestAnyMembersReachTheSameTotals: lines dealt to partitions by invoice, read
// by members that take partitions over from one another in the middle.
func TestAnyMembersReachTheSameTotals(t *testing.T) {
	lines, err := Day()
	if err != nil {
		t.Fatal(err)
	}
	want := Expected(lines)
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var partitions [6][]Line
		for _, l := range lines {
			p := int(l.Invoice[len(l.Invoice)-1]) % len(partitions)
			partitions[p] = append(partitions[p], l)
		}
		type member struct {
			*Stock
			*Fraud
			*Baskets
		}
		var members [3]member
		for i := range members {
			members[i] = member{NewStock(), NewFraud(), NewBaskets()}
		}
		for left := len(lines); left > 0; {
			p := rng.IntN(len(partitions))
			if len(partitions[p]) == 0 {
				continue
			}
			m, l := members[rng.IntN(len(members))], partitions[p][0]
			_, _, _ = m.Stock.Add(l)
			_, _, _ = m.Fraud.Add(l)
			_, _ = m.Baskets.Add(l)
			partitions[p] = partitions[p][1:]
			left--
		}
		for _, m := range members[1:] {
			members[0].Stock.Merge(m.Stock)
			members[0].Fraud.Merge(m.Fraud)
			members[0].Baskets.Merge(m.Baskets)
		}
		got := Total(members[0].Stock, members[0].Fraud, members[0].Baskets)
		got.Lines, got.BadStock, got.BadFraud, got.BadBaskets = want.Lines, want.BadStock, want.BadFraud, want.BadBaskets
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
}
