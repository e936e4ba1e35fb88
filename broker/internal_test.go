package broker

import (
	"context"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// openForTest opens a broker in memory for tests of what is inside.
func openForTest(t testing.TB) *Broker {
	t.Helper()
	b, err := Open(context.Background(), Config{Dir: "/data", FS: vfs.NewMem(), JournalFileBytes: 1 << 20, CheckpointBytes: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}
