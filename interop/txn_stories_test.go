//go:build unix

package interop

import (
	"maps"
	"sync"
	"testing"
)

// TestTransactionStories tells the story of a transactional id with each client
// library and version of transactions, all beside one another on one broker, which
// is killed by kill -9 under them. Then three kinds of consumers read what was
// committed. TestWall tells the stories of franz-go on Apache Kafka.
func TestTransactionStories(t *testing.T) {
	in := require(t)
	t.Parallel()
	s := weirServe(t, in, freeAddress(t), shortestSession)
	if committed := txnStories(t, in, s, flows(), true, (*server).kill); !t.Failed() {
		readersAgree(t, in, s.address, committed)
	}
}

// txnStories runs all stories at the same time. Each comes to the gate as often as
// the broker is restarted; when all are there, it is. It returns what is committed.
func txnStories(t *testing.T, in installed, s *server, flows []flow, atOnce bool, ends ...func(*server)) content {
	t.Helper()
	g := newGate(len(ends))
	var mu sync.Mutex
	committed := content{}
	var all sync.WaitGroup
	for _, f := range flows {
		g.expect()
		all.Go(func() {
			defer g.gone()
			t.Run(f.name, func(t *testing.T) {
				st := newTxnStory(t, in, s, f)
				st.atOnce = atOnce
				got := st.tell(func() {
					for round := range ends {
						g.pass(round)
					}
				})
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(committed, got)
			})
		})
	}
	defer all.Wait()
	defer g.open()
	for round, end := range ends {
		if g.gather() {
			end(s)
			s.start()
		}
		close(g.doors[round])
	}
	all.Wait()
	return committed
}
