//go:build unix

package sim

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	withFaults = flag.Bool("faults", false, "run the faults on real processes")
	faultSeed  = flag.Uint64("faults.seed", 0, "repeats the moments of the faults; 0 takes the clock")
	kills      = flag.Int("faults.kills", 100, "kills of the broker")
)

// reports gathers what the runs print in one table in the end.
type reports struct {
	sync.Mutex
	all []*Report
}

func (r *reports) add(one *Report) {
	r.Lock()
	defer r.Unlock()
	r.all = append(r.all, one)
}

func theSeed() uint64 {
	if *faultSeed != 0 {
		return *faultSeed
	}
	return uint64(time.Now().UnixNano())
}

// buildWeir builds weir into the directory of the test.
func buildWeir(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weir")
	out, err := exec.Command("go", "build", "-o", path, "github.com/weirstream/weir/cmd/weir").CombinedOutput()
	if err != nil {
		t.Fatalf("build weir: %v\n%s", err, out)
	}
	return path
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(smallServe); dir != "" {
		os.Exit(serveSmall(dir))
	}
	os.Exit(m.Run())
}

// newRun makes a run that reports to the test.
func newRun(t *testing.T, name string, seed uint64, d Durability, command Command) *Run {
	t.Helper()
	waste := int64(0)
	if strings.Contains(name, "small") {
		waste = 128 << 20 // 64 of them against a full disk
	}
	return &Run{
		Waste:   waste,
		Process: &Process{Command: command, Dir: filepath.Join(t.TempDir(), "data"), Address: "127.0.0.1:0"},
		Ledger:  NewLedger(d), Report: &Report{Name: name},
		Random: rand.New(rand.NewPCG(seed, uint64(len(name)))),
		Log:    t.Logf,
	}
}

// judge fails the test for anomalies.
func judge(t *testing.T, r *Report) {
	t.Helper()
	for i, a := range r.First {
		if i == 10 {
			t.Errorf("… %d anomalies in all", r.Found())
			break
		}
		t.Error(a)
	}
	if r.Acked == 0 && r.Sent == 0 {
		t.Error("nothing was acknowledged: the run shows nothing")
	}
}

// TestSmoke: five seconds of kills, in each go test.
func TestSmoke(t *testing.T) {
	t.Parallel()
	seed := theSeed()
	t.Logf("replay with: go test ./internal/sim -run TestSmoke -faults.seed=%d", seed)
	r := newRun(t, "smoke", seed, Sync, smallCommand("sync"))
	killRun(t, r, KillConfig{Kills: 8, Gap: 400 * time.Millisecond, Recovering: 30},
		LoadConfig{Topics: 1, Members: 2, Rate: 200, Transactional: 1})
	judge(t, r.Report)
	t.Log("\n" + Table([]*Report{r.Report}))
}

// killRun is one run of kills.
func killRun(t *testing.T, r *Run, k KillConfig, l LoadConfig) {
	t.Helper()
	withLoad(t, r, l, func(ctx context.Context) error { return r.Kills(ctx, k) })
}

// withLoad runs a load with faults to its end.
func withLoad(t *testing.T, r *Run, load LoadConfig, faults func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := r.Begin(ctx, load); err != nil {
		t.Fatal(err)
	}
	if err := faults(ctx); err != nil {
		t.Error(err)
	}
	if err := r.End(ctx); err != nil {
		t.Error(err)
	}
}

// suite is what the runs of one TestFaults share.
type suite struct {
	seed    uint64
	built   string // the weir binary
	reports reports
}

// TestFaults does all faults on real processes and prints in one table what was
// done and found.
func TestFaults(t *testing.T) {
	if !*withFaults {
		t.Skip("faults on real processes take minutes: go test ./internal/sim -run Faults -faults -v -timeout 30m")
	}
	s := &suite{seed: theSeed(), built: buildWeir(t)}
	t.Logf("replay with: go test ./internal/sim %s", replay(s.seed))
	t.Cleanup(func() { t.Log("\n" + Table(s.reports.all)) })
	t.Run("Kill", s.kill)
	t.Run("Power", s.power)
	t.Run("FullDisk", s.fullDisk)
	t.Run("FailingCalls", s.failingCalls)
	t.Run("Damage", s.damage)
	t.Run("Virtual", s.virtual)
	t.Run("Ends", s.ends)
	t.Run("Recovery", s.recovery)
}

// run starts a subtest with a run that is judged in its end.
func (s *suite) run(t *testing.T, name string, d Durability, command Command, do func(t *testing.T, r *Run)) {
	t.Helper()
	t.Run(strings.NewReplacer(", ", "_", " ", "_").Replace(name), func(t *testing.T) {
		r := newRun(t, name, s.seed, d, command)
		do(t, r)
		s.reports.add(r.Report)
		judge(t, r.Report)
	})
}

func (s *suite) kill(t *testing.T) {
	for _, c := range []struct {
		name    string
		d       Durability
		command Command
	}{
		{"kill, sync", Sync, WeirCommand(s.built, "sync")},
		{"kill, sync, small files", Sync, smallCommand("sync")},
		{"kill, os", OS, WeirCommand(s.built, "os")},
		{"kill, os, small files", OS, smallCommand("os")},
	} {
		s.run(t, c.name, c.d, c.command, func(t *testing.T, r *Run) {
			killRun(t, r, KillConfig{Kills: (*kills + 3) / 4, Gap: time.Second, Recovering: 25, Pauses: 10, Terms: 10},
				LoadConfig{Weak: true, Members: 3, Churn: true, Transactional: 2})
		})
	}
}

var places = flag.Int("faults.places", 1000, "damages to files between stop and start")

// damage flips bits, zeroes sectors, and cuts and removes files.
func (s *suite) damage(t *testing.T) {
	for _, killed := range []bool{false, true} {
		name := "damage after a stop"
		if killed {
			name = "damage after a kill"
		}
		s.run(t, name, Sync, smallCommand("sync"), func(t *testing.T, r *Run) {
			rot := &Rot{Run: r, Killed: killed}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if err := rot.Prepare(ctx); err != nil {
				t.Fatal(err)
			}
			if err := rot.Places(ctx, (*places+1)/2); err != nil {
				t.Error(err)
			}
			rot.End()
		})
	}
}

var (
	recoveryMiB   = flag.Int64("faults.recovery", 0, "MiB of log for the time of recovery; 0 does not measure it")
	recoveryKills = flag.Int("faults.recovery.kills", 20, "recoveries that are measured")
)

// recovery measures recoveries of a large log; it judges nothing but that they
// succeed.
func (s *suite) recovery(t *testing.T) {
	if *recoveryMiB == 0 {
		t.Skip("measured with -faults.recovery=1024")
	}
	s.run(t, "recovery of a large log", Sync, WeirCommand(s.built, "sync"), func(t *testing.T, r *Run) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		if err := r.Recoveries(ctx, *recoveryMiB<<20, *recoveryKills); err != nil {
			t.Error(err)
		}
	})
}

// replay is the flags that repeat this run.
func replay(seed uint64) string {
	out := []string{fmt.Sprintf("-run Faults -faults -faults.seed=%d", seed)}
	flag.Visit(func(f *flag.Flag) {
		if strings.HasPrefix(f.Name, "faults.") && f.Name != "faults.seed" {
			out = append(out, fmt.Sprintf("-%s=%s", f.Name, f.Value))
		}
	})
	return strings.Join(append(out, "-v"), " ")
}
