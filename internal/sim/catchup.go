package sim

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// catchUp waits until the groups have committed all of their topic.
func (l *Load) catchUp(ctx context.Context, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cl, err := l.cfg.Target.client()
	if err != nil {
		return
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	for _, p := range l.cfg.Protocols {
		l.catchUpOne(ctx, admin, p)
	}
}

func (l *Load) catchUpOne(ctx context.Context, admin *kadm.Client, p Protocol) {
	var last []Caught
	for {
		if now, err := l.caught(ctx, admin, p); err == nil {
			last = now
		}
		behind := len(last) == 0
		for _, c := range last {
			behind = behind || c.Committed < c.High
		}
		if !behind || !pause(ctx, 100*time.Millisecond) {
			break
		}
	}
	for _, c := range last {
		l.cfg.Ledger.Add(c)
	}
	if len(last) == 0 {
		l.cfg.Ledger.Add(Broken{Anomaly{GroupStuck, "the offsets of " + p.group() + " cannot be asked for"}})
	}
}

func (l *Load) caught(ctx context.Context, admin *kadm.Client, p Protocol) ([]Caught, error) {
	_, high, _, err := bounds(ctx, admin, l.topics[0])
	if err != nil {
		return nil, err
	}
	offsets, err := admin.FetchOffsets(ctx, p.group())
	if err != nil {
		return nil, err
	}
	var out []Caught
	high.Each(func(o kadm.ListedOffset) {
		c := Caught{p.group(), Partition{l.topics[0], o.Partition}, 0, o.Offset}
		if at, ok := offsets.Lookup(l.topics[0], o.Partition); ok {
			c.Committed = at.At
		}
		out = append(out, c)
	})
	return out, nil
}

// sampleCommits asks for the committed offsets of all groups.
func (l *Load) sampleCommits(ctx context.Context, admin *kadm.Client) error {
	for _, p := range l.cfg.Protocols {
		if err := l.sampleGroup(ctx, admin, p); err != nil {
			return err
		}
	}
	return nil
}

func (l *Load) sampleGroup(ctx context.Context, admin *kadm.Client, p Protocol) error {
	floor := make([]int64, l.cfg.Partitions)
	for i := range floor {
		floor[i] = l.cfg.Ledger.Floor(p.group(), Partition{l.topics[0], int32(i)})
	}
	offsets, err := admin.FetchOffsets(ctx, p.group())
	if errors.Is(err, kerr.GroupIDNotFound) {
		offsets, err = nil, nil
	}
	if err == nil {
		// When the client cannot ask for the name of a topic whose id was answered, it
		// gives its offsets out under no name, with an error: that is not none.
		err = offsets.Error()
	}
	if err != nil {
		return err
	}
	for i := range floor {
		e := CommitSeen{p.group(), Partition{l.topics[0], int32(i)}, -1, floor[i]}
		if o, ok := offsets.Lookup(l.topics[0], int32(i)); ok {
			if o.Err != nil {
				return o.Err
			}
			e.Offset = o.At
		}
		l.cfg.Ledger.Add(e)
	}
	return nil
}

// CheckCommits has the ledger judge what the broker knows of the groups' offsets
// now: to be called after a restart.
func (l *Load) CheckCommits(ctx context.Context) error {
	if l.cfg.Members == 0 {
		return nil
	}
	cl, err := l.cfg.Target.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	return stubborn(ctx, func(ctx context.Context) error { return l.sampleCommits(ctx, kadm.NewClient(cl)) })
}
