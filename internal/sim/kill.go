//go:build unix

package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"time"
)

// Run is a broker process under load with faults: what all fault runs share.
type Run struct {
	Process  *Process
	Ledger   *Ledger
	Load     *Load
	Report   *Report
	Random   *rand.Rand
	Patience time.Duration // for the end: answers, the group, reading back
	Log      func(format string, args ...any)
	Waste    int64 // bytes that the directory may hold beyond the records; optional: 640 MiB

	begun time.Time
}

// Begin starts the broker and the load on it.
func (r *Run) Begin(ctx context.Context, cfg LoadConfig) error {
	r.begun = time.Now()
	if r.Patience == 0 {
		r.Patience = time.Minute
	}
	if r.Waste == 0 {
		r.Waste = 640 << 20
	}
	if _, err := r.Process.Start(); err != nil {
		return err
	}
	cfg.Target = Target{Address: r.Process.Address}
	cfg.Ledger, cfg.Incarnation, cfg.Seed = r.Ledger, r.Process.Incarnation, r.Random.Uint64()
	var err error
	r.Load, err = NewLoad(ctx, cfg)
	return err
}

// restart starts the broker after a fault; that it does not start is an anomaly
// that ends the run. Every second time the groups' offsets are asked for at once;
// in the others the next fault may come before a first question.
func (r *Run) restart(ctx context.Context) error {
	took, err := r.Process.Start()
	if err != nil {
		r.broken(NotStarted, "%v", err)
		return err
	}
	r.Report.Recovery = append(r.Report.Recovery, took)
	if r.Random.IntN(2) > 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	if err := r.Load.CheckCommits(limited); err != nil && ctx.Err() == nil {
		r.broken(GroupStuck, "after a restart the groups' offsets cannot be asked for: %v", err)
	}
	r.Report.Checked++
	return nil
}

func (r *Run) broken(kind Kind, format string, args ...any) {
	a := Anomaly{kind, short(fmt.Sprintf(format, args...))}
	r.Log("%v", a)
	r.Ledger.Add(Broken{a})
}

// short keeps the beginning, which says what happened, and the end, which is the
// last that the broker said.
func short(s string) string {
	const begin, end = 300, 400
	if len(s) <= begin+end {
		return s
	}
	return s[:begin] + " … " + s[len(s)-end:]
}

// alive: a broker that ended without an order is an anomaly.
func (r *Run) alive() bool {
	if r.Process.Alive() {
		return true
	}
	r.broken(Ended, "code %d: %s", r.Process.Code(), r.Process.Said())
	return false
}

// awaitAcks waits until the load gets answers again, so that faults hit a
// broker at work; it says how long that took.
func (r *Run) awaitAcks(ctx context.Context, more int, patience time.Duration) (time.Duration, bool) {
	begin, goal := time.Now(), r.Ledger.Acked()+more
	for r.Ledger.Acked() < goal {
		if time.Since(begin) > patience || !r.Process.Alive() || !pause(ctx, 5*time.Millisecond) {
			return time.Since(begin), false
		}
	}
	return time.Since(begin), true
}

// End kills the broker once more, starts it, ends the load, judges, and stops
// the broker in order.
func (r *Run) End(ctx context.Context) error {
	defer func() {
		if r.Process.Alive() {
			_ = r.Process.Kill()
		}
		r.Report.Take(r.Ledger)
		r.Report.Took = time.Since(r.begun)
	}()
	if !r.Process.Alive() {
		if err := r.restart(ctx); err != nil {
			return err
		}
	}
	if err := r.Load.Finish(ctx, r.Patience); err != nil {
		return err
	}
	if !r.alive() {
		return nil
	}
	r.stopInOrder()
	return r.weigh()
}

// weigh: what is left behind by faults must not fill the disk.
func (r *Run) weigh() error {
	var used int64
	err := r.Process.spawn(func() error {
		return filepath.WalkDir(r.Process.Dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err == nil {
				used += info.Sys().(*syscall.Stat_t).Blocks * 512
			}
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("weigh the data directory: %w", err)
	}
	written := int64(r.Ledger.Acked()) * int64(r.Load.cfg.RecordBytes)
	if most := 2*written + r.Waste; used > most {
		r.broken(SpaceLeak, "%d MiB of records, and %d MiB in the data directory after %v", written>>20, used>>20, r.Report.Faults)
	}
	return nil
}

// stopInOrder: SIGTERM ends with code 0 in time.
func (r *Run) stopInOrder() {
	took, err := r.Process.Terminate()
	switch {
	case err != nil:
		r.broken(SlowStop, "%v", err)
	case r.Process.Code() != 0:
		r.broken(Ended, "code %d after SIGTERM and %v: %s", r.Process.Code(), took, r.Process.Said())
	}
}

// KillConfig says how a broker process is to be ended.
type KillConfig struct {
	Kills      int           // how often in all
	Gap        time.Duration // longest time between a start and the next fault
	Recovering int           // percent of kills that hit the next start, too
	Pauses     int           // percent of faults that are SIGSTOP and SIGCONT
	Terms      int           // percent of faults that are SIGTERM
}

// Kills ends the broker again and again at random moments and starts it again.
func (r *Run) Kills(ctx context.Context, cfg KillConfig) error {
	for r.Report.Faults["kill"] < cfg.Kills {
		if r.Random.IntN(4) > 0 {
			r.awaitAcks(ctx, 1+r.Random.IntN(200), 10*time.Second)
		}
		if !pause(ctx, time.Duration(r.Random.Int64N(int64(cfg.Gap)))) {
			return ctx.Err()
		}
		if !r.alive() {
			return nil
		}
		switch n := r.Random.IntN(100); {
		case n < cfg.Pauses:
			if err := r.pause(ctx); err != nil {
				return err
			}
			continue
		case n < cfg.Pauses+cfg.Terms:
			r.Report.Fault("term")
			r.stopInOrder()
		default:
			r.Report.Fault("kill")
			if err := r.Process.Kill(); err != nil {
				return err
			}
			if err := r.killRecovering(ctx, cfg.Recovering); err != nil {
				return err
			}
		}
		if err := r.restart(ctx); err != nil {
			return err
		}
	}
	return nil
}

// killRecovering starts the broker and kills it while it starts, for as long as
// the dice say so.
func (r *Run) killRecovering(ctx context.Context, percent int) error {
	for r.Random.IntN(100) < percent {
		if _, err := r.Process.Launch(); err != nil {
			return err
		}
		pause(ctx, time.Duration(r.Random.IntN(60))*time.Millisecond)
		if !r.Process.Alive() {
			r.broken(NotStarted, "code %d: %s", r.Process.Code(), r.Process.Said())
			return errors.New("the broker did not start")
		}
		r.Report.Fault("kill in recovery")
		if err := r.Process.Kill(); err != nil {
			return err
		}
	}
	return nil
}

// pause stops the process for up to three seconds, less than clients wait for
// an answer: what they would send again could come into force twice.
func (r *Run) pause(ctx context.Context) error {
	r.Report.Fault("pause")
	if err := r.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	pause(ctx, time.Duration(r.Random.IntN(3000))*time.Millisecond)
	return r.Process.Signal(syscall.SIGCONT)
}
