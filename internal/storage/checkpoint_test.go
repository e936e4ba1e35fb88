package storage

import (
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// TestDeletionBesideACheckpoint: in os mode a power cut leaves a topic's files or the
// record of its deletion, also while a checkpoint has taken the metadata's log
// and not synced it yet.
func TestDeletionBesideACheckpoint(t *testing.T) {
	for seed := range uint64(16) {
		mem := vfs.NewMem()
		cfg := smallConfig(mem)
		cfg.Durability = OS
		s := mustOpen(t, cfg, orders)
		put(t, s, s.Partition(ordersID, 0), text(1, "an order"))
		put(t, s, s.Metadata(), text(1, "the deletion"))
		end := s.Metadata().Offsets().End
		snap, err := s.collect()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteTopic(ordersID); err != nil {
			t.Fatal(err)
		}
		cfg.FS = powerCut(mem, seed)
		snap.again()
		snap.unpin()
		mustClose(t, s)

		s = mustOpen(t, cfg, orders)
		if got := s.Metadata().Offsets().End; got != end {
			t.Errorf("seed %d: the metadata's log ends at %d, %d was synced before the files went", seed, got, end)
		}
		mustClose(t, s)
	}
}
