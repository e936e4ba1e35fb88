package cli

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
)

func TestGroupListFilters(t *testing.T) {
	b := brokertest.Start(t)
	env := against(b)
	mustRun(t, env, "topic create t -p 1")
	mustRun(t, env, "group reset idle --topic t --to-start --execute --undo "+t.TempDir()+"/undo.json")
	defer member(t, b, kgo.ClientID("worker"))()
	for filter, want := range map[string]string{
		"":                       "g idle",
		"--state stable":         "g",
		"--state Stable,Empty":   "g idle",
		"--state reconciling":    "",
		"--type Classic":         "g idle",
		"--type consumer":        "",
		"--type share,classic":   "g idle",
		"--state Empty --type x": "?",
	} {
		r := run(t.Context(), env, strings.Fields("group list -O name "+filter)...)
		got := strings.Join(strings.Fields(r.out), " ")
		if want == "?" {
			if r.code != ExitUsage || !strings.Contains(r.errOut, "--type x: there are classic, consumer") {
				t.Errorf("%s: code %d, said %q", filter, r.code, r.errOut)
			}
			continue
		}
		if r.code != ExitOK || got != want {
			t.Errorf("%s: code %d, said %q, printed %q; want %q", filter, r.code, r.errOut, got, want)
		}
	}
}

// TestGroupDeleteRefusesMembers: nothing is asked of the broker, and the next step is said.
func TestGroupDeleteRefusesMembers(t *testing.T) {
	b := brokertest.Start(t)
	env := against(b)
	mustRun(t, env, "topic create t -p 1")
	defer member(t, b, kgo.ClientID("worker"))()
	r := run(t.Context(), env, "group", "delete", "g", "nope", "g")
	if n := strings.Count(r.out, "NON_EMPTY_GROUP"); n != 1 {
		t.Errorf("a group that is named twice is told %d times", n)
	}
	for _, says := range []string{`it has 1 member ("worker" at `, "stop all of them, then delete it: NON_EMPTY_GROUP", `there is no group "nope"`} {
		if !strings.Contains(r.out, says) {
			t.Errorf("%q does not say %q", r.out, says)
		}
	}
	if r.code != ExitFailed || r.errOut != "" {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
	r = run(t.Context(), env, "group", "delete", "g", "--topic", "t:0", "--dry-run")
	if r.code != ExitOK || !strings.Contains(r.errOut, "group g (Stable): offsets of no partition") || !strings.Contains(r.out, "unchanged") {
		t.Errorf("code %d, said %q, printed %q", r.code, r.errOut, r.out)
	}
}

// TestDescribeManyGroups: each with its own offsets, members and errors.
func TestDescribeManyGroups(t *testing.T) {
	b := brokertest.Start(t)
	env := against(b)
	mustRun(t, env, "topic create t u -p 1")
	mustRun(t, env, "group reset idle --topic u --to-start --execute --undo "+t.TempDir()+"/undo.json")
	defer member(t, b, kgo.ClientID("worker"))()
	r := run(t.Context(), env, strings.Fields("group describe idle nope g idle -O csv")...)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	want := []string{"group,state,", "idle,Empty,u,0,0,0,0,,,,,,classic,", "nope,,,,,,,", "g,Stable,t,0,,0,0,"}
	if r.code != ExitFailed || len(lines) != len(want) {
		t.Fatalf("code %d, said %q, printed\n%s", r.code, r.errOut, r.out)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("%q does not begin with %q", lines[i], want[i])
		}
	}
	if r := run(t.Context(), env, "group", "members", "idle"); r.code != ExitOK || !strings.Contains(r.errOut, "group idle has no members (Empty)") {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
}
