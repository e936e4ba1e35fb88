package storage

import (
	"errors"
	"fmt"
	"time"
)

// errLow is why appends of users are refused while the disk is almost full.
var errLow = fmt.Errorf("%w: the free space is below the reserve", ErrNoSpace)

// Writable says why users' appends are refused, or nil: ErrStorage after a
// failure, ErrNoSpace while the disk is (almost) full, ErrClosed after Close.
func (s *Store) Writable() error {
	if err := s.usable(); err != nil {
		return err
	}
	if s.space.low.Load() {
		return errLow
	}
	return nil
}

// ReserveStands says whether the reserve against a full disk is there, or there
// need be none. Without it appends are refused until there is space.
func (s *Store) ReserveStands() bool { return !errors.Is(s.Writable(), ErrNoSpace) }

// makeRoom gives back what a start on a full disk can do without, and says whether
// there was anything: first the reserve, then journal files that wait to be used.
func (s *Store) makeRoom() bool {
	if s.space.met() {
		return true
	}
	freed, err := s.j.FreeSpares()
	if err != nil {
		s.cfg.Logger.Error("cannot free spare journal files", "error", err)
	}
	return freed
}

// resume begins, as soon as there is space, the life that a start on a full disk
// could not begin. It is part of the goroutine of checkpoints, so that no
// checkpoint is written at the same time. False ends that goroutine.
func (s *Store) resume() bool {
	for {
		select {
		case <-s.closing:
			return false
		case <-s.failed:
			return false
		case <-time.After(retrySpace):
		}
		err := s.begin()
		switch {
		case err == nil:
			s.cfg.Logger.Info("there is space: appends are accepted")
			s.readOnly.Store(false)
			s.space.look()
			return true
		case s.ctx.Err() != nil:
			return false
		case !noSpace(err):
			_ = s.fail(err)
			return false
		}
	}
}
