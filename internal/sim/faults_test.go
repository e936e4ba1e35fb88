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
	return &Run{
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
	if r.Acked == 0 {
		t.Error("nothing was acknowledged: the run shows nothing")
	}
	t.Log("\n" + Table([]*Report{r}))
}

func durabilityOf(name string) Durability {
	if name == "os" {
		return OS
	}
	return Sync
}

// TestSmoke: five seconds of kills, in each go test.
func TestSmoke(t *testing.T) {
	seed := theSeed()
	t.Logf("replay with: go test ./internal/sim -run TestSmoke -faults.seed=%d", seed)
	r := newRun(t, "smoke", seed, Sync, smallCommand("sync"))
	killRun(t, r, KillConfig{Kills: 3, Gap: 300 * time.Millisecond, Recovering: 30},
		LoadConfig{Topics: 1, Members: 2, Rate: 200})
}

// killRun is one run of kills.
func killRun(t *testing.T, r *Run, k KillConfig, l LoadConfig) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := r.Begin(ctx, l); err != nil {
		t.Fatal(err)
	}
	if err := r.Kills(ctx, k); err != nil {
		t.Error(err)
	}
	if err := r.End(ctx); err != nil {
		t.Error(err)
	}
	judge(t, r.Report)
}

func needFaults(t *testing.T) {
	t.Helper()
	if !*withFaults {
		t.Skip("faults on real processes take minutes: go test ./internal/sim -run Faults -faults -v")
	}
}

// TestFaults runs all faults on real processes and prints what was done and found.
func TestFaults(t *testing.T) {
	needFaults(t)
	seed := theSeed()
	t.Logf("replay with: go test ./internal/sim %s", replay(seed))
	all, built := &reports{}, buildWeir(t)
	t.Cleanup(func() { t.Log("\n" + Table(all.all)) })
	for _, durability := range []string{"sync", "os"} {
		for _, size := range []string{"", " small files"} {
			name := "kill, " + durability + size
			t.Run(strings.ReplaceAll(name, ", ", "_"), func(t *testing.T) {
				command := smallCommand(durability)
				if size == "" {
					command = WeirCommand(built, durability)
				}
				r := newRun(t, name, seed, durabilityOf(durability), command)
				defer all.add(r.Report)
				killRun(t, r, KillConfig{Kills: (*kills + 3) / 4, Gap: time.Second, Recovering: 25, Pauses: 10, Terms: 10},
					LoadConfig{Weak: true, Members: 3, Churn: true})
			})
		}
	}
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

var places = flag.Int("faults.places", 1000, "damages to files between stop and start")

// TestFaultsDamage flips bits, zeroes sectors, and cuts and removes files.
func TestFaultsDamage(t *testing.T) {
	needFaults(t)
	seed := theSeed()
	t.Logf("replay with: go test ./internal/sim %s", replay(seed))
	all := &reports{}
	t.Cleanup(func() { t.Log("\n" + Table(all.all)) })
	for _, killed := range []bool{false, true} {
		name := "damage after a stop"
		if killed {
			name = "damage after a kill"
		}
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			r := newRun(t, name, seed, Sync, smallCommand("sync"))
			r.begun = time.Now()
			defer all.add(r.Report)
			rot := &Rot{Run: r, Killed: killed}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if err := rot.Prepare(ctx); err != nil {
				t.Fatal(err)
			}
			if err := rot.Places(ctx, (*places+1)/2); err != nil {
				t.Error(err)
			}
			r.Report.Took = time.Since(r.begun)
			acked := r.Report.Acked
			r.Report.Take(r.Ledger)
			r.Report.Acked = acked
			judge(t, r.Report)
		})
	}
}
