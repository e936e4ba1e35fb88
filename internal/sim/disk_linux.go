package sim

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// On puts the run's broker on the disk.
func (r *Run) On(d *Disk) {
	r.Process.Dir = d.Dir + "/data"
	r.Process.Spawn = d.cell.Do
}

// PowerCuts cuts the power of the disk, and of the broker, under load, again
// and again. The process dies before the disk does, or after it, or meets the
// dead disk by itself: then it has to end by itself, with code 74.
func (r *Run) PowerCuts(ctx context.Context, d *Disk, cuts int, gap time.Duration) error {
	if r.Ledger.durability == OS {
		// The topics themselves are not durable yet; after this they are.
		r.stopInOrder()
		if err := r.restart(ctx); err != nil {
			return err
		}
	}
	for range cuts {
		if r.Random.IntN(4) > 0 {
			r.awaitAcks(ctx, 1+r.Random.IntN(200), 10*time.Second)
		}
		if !pause(ctx, time.Duration(r.Random.Int64N(int64(gap)))) {
			return ctx.Err()
		}
		if !r.alive() {
			return nil
		}
		before := r.Ledger.Acked()
		style, err := r.cut(d)
		if err != nil {
			return err
		}
		r.Report.Fault("power cut")
		r.Ledger.Add(PowerCut{})
		begin := time.Now()
		if err := d.Return(); err != nil {
			return err
		}
		mounted := time.Since(begin)
		if r.Random.IntN(4) == 0 {
			if again, err := r.cutRecovering(ctx, d); err != nil || !again {
				return err
			}
		}
		if err := r.restart(ctx); err != nil {
			return err
		}
		r.Log("%s, %d acknowledged before it began, %d in the end: mounted in %v, listening in %v, %d MiB free", style, before, r.Ledger.Acked(), mounted.Round(time.Millisecond), r.Report.Recovery[len(r.Report.Recovery)-1].Round(time.Millisecond), d.free()>>20)
	}
	return nil
}

// cut ends process and disk, and says how.
func (r *Run) cut(d *Disk) (style string, err error) {
	switch r.Random.IntN(3) {
	case 0:
		if err := r.Process.Kill(); err != nil {
			return "", err
		}
		return "killed, then power cut", d.CutPower()
	case 1:
		// Stopped, it cannot answer for a system call that was on its way.
		if err := r.Process.Signal(syscall.SIGSTOP); err != nil {
			return "", err
		}
		return "power cut, then killed", errors.Join(d.CutPower(), r.Process.Kill())
	}
	if err := d.CutPower(); err != nil {
		return "", err
	}
	if err := r.Process.wait(stopPatience); err != nil {
		r.broken(SlowStop, "on a dead disk: %v", err)
		return "disk dead, and the broker did not end", r.Process.Kill()
	}
	if r.Process.Code() != 74 {
		r.broken(Ended, "code %d on a dead disk: %s", r.Process.Code(), r.Process.Said())
	}
	return "disk dead, and the broker ended by itself", nil
}

// cutRecovering cuts the power again while the broker starts; false if it does
// not start at all.
func (r *Run) cutRecovering(ctx context.Context, d *Disk) (bool, error) {
	if _, err := r.Process.Launch(); err != nil {
		return false, err
	}
	pause(ctx, time.Duration(r.Random.IntN(100))*time.Millisecond)
	if !r.Process.Alive() {
		r.broken(NotStarted, "code %d: %s", r.Process.Code(), r.Process.Said())
		return false, nil
	}
	r.Report.Fault("power cut in recovery")
	if err := d.CutPower(); err != nil {
		return false, err
	}
	if err := r.Process.Kill(); err != nil {
		return false, err
	}
	r.Ledger.Add(PowerCut{})
	return true, d.Return()
}
