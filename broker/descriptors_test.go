package broker

import (
	"log/slog"
	"testing"
)

// TestDescriptorsAreShared: whatever the limit, all connections, twice the files
// and the kept ones fit into it.
func TestDescriptorsAreShared(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	for _, c := range []struct {
		limit       uint64
		connections int
		want        descriptors
	}{
		{0, 10_000, descriptors{1000, 10_000}},
		{1 << 62, 10_000, descriptors{16 << 10, 10_000}},
		{1024, 10_000, descriptors{240, 480}},
		{1024, 100, descriptors{430, 100}},
		{65_536, 10_000, descriptors{16 << 10, 10_000}},
		{20_000, 10_000, descriptors{4968, 10_000}},
		{14_000, 10_000, descriptors{1968, 10_000}},
		{11_000, 10_000, descriptors{1000, 8936}},
		{100, 10_000, descriptors{9, 18}},
	} {
		if got := shareDescriptors(c.limit, c.connections, quiet); got != c.want {
			t.Errorf("limit %d, max.connections %d: %+v, want %+v", c.limit, c.connections, got, c.want)
		}
	}
	for limit := uint64(70); limit < 20_000; limit++ {
		d := shareDescriptors(limit, 10_000, quiet)
		if d.files < 1 || d.connections < 1 || uint64(2*d.files+d.connections+keptDescriptors) > limit {
			t.Fatalf("limit %d: %+v does not fit", limit, d)
		}
	}
}
