package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// setupGroups measures what many groups cost a broker that have nothing else to do
// than to send heartbeats and commits. All talk to the first address,
// which must be the coordinator of all of them. Several members share a
// connection, since ten thousand of those are another measurement.
func setupGroups(fs *flag.FlagSet, o *Options) job {
	g := &groupLoad{}
	fs.IntVar(&g.groups, "groups", 1000, "groups")
	fs.StringVar(&g.protocol, "protocol", "classic", "classic or 848")
	fs.IntVar(&g.members, "members", 10, "members of each")
	fs.IntVar(&g.conns, "conns", 2000, "connections that the members share, a multiple of -members")
	fs.DurationVar(&g.beat, "beat", 3*time.Second, "between two heartbeats of a member")
	fs.IntVar(&g.commits, "commits", 1000, "commits a second of all together, of one partition each")
	return job{run: g.run}
}

type groupLoad struct {
	groups, members, conns, commits int
	beat                            time.Duration
	protocol                        string
}

// beater is one member of a group; it shares its connection.
type beater interface {
	// turn sends a heartbeat and, if that is refused, takes part in a round. settled
	// says that there was nothing else to do; else it counts as a join.
	turn() (settled bool, err error)
	// interval is until the next turn, if it is less than the others have.
	interval() (time.Duration, bool)
	commit(topic string, partition int32, at int64) error
}

type sharedConn struct {
	mu sync.Mutex
	c  *rawConn
}

func (s *sharedConn) roundTrip(req kmsg.Request, resp kmsg.Response) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.c.roundTrip(req, resp)
	s.c.rbuf = nil // the strings of the answer are in it, and the next one is another member's
	return err
}

// tally is what all beaters have seen.
type tally struct {
	settled atomic.Int64 // members whose last heartbeat was answered without an error
	joins   atomic.Int64
	beats   atomic.Int64
	mu      sync.Mutex
	commits *hdrhistogram.Histogram
	err     error
}

func (y *tally) fail(err error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.err = errors.Join(y.err, err)
}

func (g *groupLoad) run(ctx context.Context, t *Target) (Metrics, error) {
	topic, err := t.createTopic(ctx, "groups", g.members, nil)
	if err != nil {
		return nil, err
	}
	defer t.deleteTopic(topic)
	conns := make([]*sharedConn, min(max(1, g.conns/g.members)*g.members, g.groups*g.members))
	for i := range conns {
		c, err := t.rawDial(ctx, t.Addrs()[0])
		if err != nil {
			return nil, err
		}
		defer c.c.Close()
		conns[i] = &sharedConn{c: c}
	}
	find := kmsg.NewPtrFindCoordinatorRequest() // brokers make the offsets topic for it
	find.Version, find.CoordinatorKey = 3, "kbench"
	if err := conns[0].roundTrip(find, find.ResponseKind()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	y := &tally{commits: newHist()}
	var members sync.WaitGroup
	defer members.Wait()
	defer cancel()
	run := fmt.Sprintf("kbench-%d", rand.Uint32())
	every := time.Duration(g.groups*g.members) * time.Second / time.Duration(max(1, g.commits))
	t0 := time.Now()
	for i := range g.groups * g.members {
		b, err := g.member(conns[i%len(conns)], fmt.Sprintf("%s-%d", run, i/g.members), fmt.Sprintf("%s-m%d", run, i), topic)
		if err != nil {
			return nil, err
		}
		members.Go(func() { live(ctx, b, y, topic, int32(i%g.members), g.beat, every) })
		// A classic join waits for the other members' heartbeats and holds up its
		// connection; so nobody else may be joining on it.
		if n := i + 1; g.protocol == "classic" && n%len(conns) == 0 || n == g.groups*g.members {
			if err := g.settle(ctx, y, int64(n)); err != nil {
				return nil, err
			}
		}
	}
	var m Metrics
	m.ms("settled", time.Since(t0))
	y.mu.Lock()
	y.commits.Reset()
	y.mu.Unlock()
	joins, beats := y.joins.Load(), y.beats.Load()
	w := t.watch()
	wait(ctx, t.o.Time)
	w.end(&m, 0, 0)
	y.mu.Lock()
	defer y.mu.Unlock()
	m.add("heartbeats", "/s", float64(y.beats.Load()-beats)/t.o.Time.Seconds())
	m.add("commits", "/s", float64(y.commits.TotalCount())/t.o.Time.Seconds())
	m.add("joins", "", float64(y.joins.Load()-joins))
	m.hist("commit", y.commits)
	return m, errors.Join(ctx.Err(), y.err)
}

// settle waits until for more than a heartbeat none of the members has had to join.
func (g *groupLoad) settle(ctx context.Context, y *tally, members int64) error {
	for {
		before := y.joins.Load()
		if !wait(ctx, g.beat+g.beat/4) {
			return ctx.Err()
		}
		y.mu.Lock()
		err := y.err
		y.mu.Unlock()
		if err != nil {
			return err
		}
		if y.joins.Load() == before && y.settled.Load() == members {
			return nil
		}
	}
}

// member makes one that has not joined yet.
func (g *groupLoad) member(conn *sharedConn, group, id, topic string) (beater, error) {
	switch g.protocol {
	case "classic":
		return &classicBeater{conn: conn, group: group}, nil
	case "848":
		return &consumerBeater{conn: conn, group: group, id: id, topic: topic}, nil
	}
	return nil, fmt.Errorf("unknown protocol %q", g.protocol)
}

// wait tells whether the whole time has passed.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// live joins, and then sends heartbeats and now and then a commit.
func live(ctx context.Context, b beater, y *tally, topic string, partition int32, beat, every time.Duration) {
	was := false
	var at int64
	next := time.Now().Add(rand.N(every))
	pause := func() time.Duration {
		d := beat
		if told, ok := b.interval(); ok {
			d = min(d, told)
		}
		return d - d/20 + rand.N(d/10)
	}
	for ok := true; ok; ok = wait(ctx, pause()) {
		settled, err := b.turn()
		y.beats.Add(1)
		if settled != was {
			was = settled
			y.settled.Add(map[bool]int64{true: 1, false: -1}[settled])
		}
		if !settled {
			y.joins.Add(1)
		}
		for ; err == nil && settled && time.Now().After(next); next = next.Add(every) {
			at++
			t0 := time.Now()
			err = b.commit(topic, partition, at)
			y.mu.Lock()
			record(y.commits, time.Since(t0))
			y.mu.Unlock()
		}
		if err != nil {
			if ctx.Err() == nil {
				y.fail(err)
			}
			return
		}
	}
}
