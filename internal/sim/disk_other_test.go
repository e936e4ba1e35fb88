//go:build unix && !linux

package sim

import "testing"

func (s *suite) power(t *testing.T)        { t.Skip("power cuts need Linux") }
func (s *suite) fullDisk(t *testing.T)     { t.Skip("full disks need Linux") }
func (s *suite) failingCalls(t *testing.T) { t.Skip("failing system calls need Linux and strace") }
