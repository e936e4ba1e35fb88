package sim

import (
	"context"
	"time"
)

// spaceGoal is how soon after space has returned writes must be accepted.
const spaceGoal = 5 * time.Second

// FullDisk fills the disk under load and gives the space back, again and again.
// Meanwhile the broker keeps running, and reads are served. Sometimes it is
// killed and started while the disk is full.
func (r *Run) FullDisk(ctx context.Context, d *Disk, episodes int) error {
	for range episodes {
		if !r.alive() {
			return nil
		}
		r.Report.Fault("disk full")
		if err := r.fill(ctx, d); err != nil {
			return err
		}
		if !r.alive() {
			return nil
		}
		if r.Random.IntN(4) == 0 {
			r.Report.Fault("kill on a full disk")
			if err := r.Process.Kill(); err != nil {
				return err
			}
			if err := r.restart(ctx); err != nil {
				return err
			}
		}
		r.servesReads(ctx)
		if err := d.Free(); err != nil {
			return err
		}
		took, ok := r.awaitAcks(ctx, 20, 6*spaceGoal)
		if !r.alive() {
			return nil
		}
		if !ok || took > spaceGoal {
			r.broken(SlowReturn, "%v after there was space again (acknowledged: %v): %s", took, ok, r.Process.Said())
		}
		r.Report.Return = append(r.Report.Return, took)
		r.awaitAcks(ctx, 500, 10*time.Second)
	}
	return nil
}

// fill leaves a little space, or none, and takes what the broker gives back of
// its reserve for as long as the episode lasts.
func (r *Run) fill(ctx context.Context, d *Disk) error {
	until := time.Now().Add(time.Duration(500+r.Random.IntN(1500)) * time.Millisecond)
	keep := int64(r.Random.IntN(3)) * int64(r.Random.IntN(2<<20))
	for time.Now().Before(until) && r.Process.Alive() {
		if err := d.Fill(keep); err != nil {
			return err
		}
		if !pause(ctx, time.Duration(50+r.Random.IntN(200))*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// servesReads: what is in the log can be read while nothing can be written.
func (r *Run) servesReads(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	scratch := NewLedger(r.Ledger.durability)
	topic := r.Load.topics[0]
	if err := readBack(limited, r.Load.cfg.Target, scratch, topic, topic); err != nil {
		r.broken(Unreadable, "on a full disk: %v", err)
	} else if n := scratch.Counts()[Unreadable]; n > 0 {
		r.broken(Unreadable, "on a full disk: %v", scratch.First())
	}
}
