//go:build unix

package interop

import (
	"sync"
	"testing"
)

// TestGroupStories tells the story of a group with each client library and each
// protocol that it speaks, all beside one another on one broker, which is
// restarted twice under them: by SIGTERM and by kill -9. TestWall tells some on
// Apache Kafka, to prove that the story itself is right.
func TestGroupStories(t *testing.T) {
	in := require(t)
	s := weirServe(t, in, freeAddress(t), shortestSession)
	stories(t, in, s, libraries(), (*server).terminate, (*server).kill)
}

// onKafka are the stories for Apache Kafka: those of franz-go and, because only it
// releases the place of a static member there, that of Java.
func onKafka() []library {
	all := libraries()
	franz, java := all[0], all[2]
	java.protocols = []string{consumer}
	franz.keepsPlace = true
	return []library{franz, java}
}

// stories runs all stories at the same time. Each comes to the gate as often as
// the broker is restarted; when all are there, it is.
func stories(t *testing.T, in installed, s *server, libraries []library, ends ...func(*server)) {
	t.Helper()
	g := newGate(len(ends))
	var all sync.WaitGroup
	defer all.Wait()
	defer g.open()
	for _, l := range libraries {
		for _, protocol := range l.protocols {
			g.expect()
			all.Go(func() {
				defer g.gone()
				t.Run(l.name+"/"+protocol, func(t *testing.T) {
					round := 0
					newStory(t, in, s, l, protocol).tell(len(ends), func() {
						g.pass(round)
						round++
					})
				})
			})
		}
	}
	for round, end := range ends {
		if g.gather() {
			end(s)
			s.start()
		}
		close(g.doors[round])
	}
}

// gate holds stories back until all that still run have come to it.
type gate struct {
	doors   []chan struct{} // by round; closed when it opens
	running int
	came    chan bool // true: a story is at the door; false: it ended
}

func newGate(rounds int) *gate {
	g := &gate{came: make(chan bool, 64)}
	for range rounds {
		g.doors = append(g.doors, make(chan struct{}))
	}
	return g
}

func (g *gate) expect() { g.running++ }
func (g *gate) gone()   { g.came <- false }

// pass waits until the door of a round is open.
func (g *gate) pass(round int) {
	g.came <- true
	<-g.doors[round]
}

// gather waits until all are at the door; it returns false if none is left.
func (g *gate) gather() bool {
	for here := 0; here < g.running; {
		if <-g.came {
			here++
		} else {
			g.running--
		}
	}
	return g.running > 0
}

// open opens all doors, for a test that ends early.
func (g *gate) open() {
	for _, door := range g.doors {
		select {
		case <-door:
		default:
			close(door)
		}
	}
}
