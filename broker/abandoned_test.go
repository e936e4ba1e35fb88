package broker

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// TestAbandonedWithAFullQueue: a client that goes while requests stand behind its long
// poll is not read from, so its end was seen only when the poll ended, after
// up to 24 days. It goes without a word.
func TestAbandonedWithAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b, err := Open(context.Background(), Config{
			Dir: "/data", FS: vfs.NewMem(), JournalFileBytes: 1 << 20, CheckpointBytes: 2 << 20,
			Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
		})
		if err != nil {
			t.Fatal(err)
		}
		made, _, err := b.metadata.create(context.Background(), "t", 1000, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := dialInBubble(t, b)
		poll := sessionRequest(12, made.ID, finalEpoch)
		poll.MinBytes, poll.MaxWaitMillis = 1, math.MaxInt32
		mustWrite(t, c, encode(poll, 1))
		go func() {
			for range 1000 { // more than maxPending
				if _, err := c.Write(aboutT()); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		c.Close()
		time.Sleep(b.settings.MaxIdle + time.Second)
		synctest.Wait()
		if n := openConns(b); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if err := b.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if log.Len() > 0 {
			t.Errorf("logged: %s", log.String())
		}
	})
}
