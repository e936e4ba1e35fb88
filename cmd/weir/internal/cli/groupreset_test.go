package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
)

// standing starts a broker in which topic t has ten records in partition 0 and
// group g stands at 4, with metadata, and a client to look with.
func standing(t *testing.T) (Env, *kadm.Client) {
	t.Helper()
	b := brokertest.Start(t)
	env := against(b)
	mustRun(t, env, "topic create t -p 2")
	env.Stdin = strings.NewReader(strings.Repeat("x\n", 10))
	mustRun(t, env, "produce t -p 0")
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokertest.Address), kgo.Dialer(b.DialContext))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	client := kadm.NewClient(cl)
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: "t", Partition: 0, At: 4, LeaderEpoch: 0, Metadata: "who"})
	if err := client.CommitAllOffsets(t.Context(), "g", offsets); err != nil {
		t.Fatal(err)
	}
	return env, client
}

// stands is where a group stands, as "t-0@4/0/who".
func stands(t *testing.T, client *kadm.Client, group string) string {
	t.Helper()
	offsets, err := client.FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, o := range offsets.Sorted() {
		words = append(words, fmt.Sprintf("%s-%d@%d/%d/%s", o.Topic, o.Partition, o.At, o.LeaderEpoch, o.Metadata))
	}
	return strings.Join(words, " ")
}

// TestResetShowsOnly: without --execute nothing is written, neither offsets nor files.
func TestResetShowsOnly(t *testing.T) {
	env, client := standing(t)
	t.Chdir(t.TempDir())
	r := run(t.Context(), env, strings.Fields("group reset g --topic t --to-end -O csv")...)
	want := "group,topic,partition,before,after,delta,lag,status,note,error\n" +
		"g,t,0,4,10,6,0,would change,,\ng,t,1,,0,,0,would change,,\n"
	if diff := cmp.Diff(want, r.out); r.code != ExitOK || diff != "" {
		t.Errorf("code %d\n%s", r.code, diff)
	}
	if !strings.Contains(r.errOut, "only shown: add --execute") {
		t.Errorf("said %q", r.errOut)
	}
	if got := stands(t, client, "g"); got != "t-0@4/0/who" {
		t.Errorf("the group stands at %s", got)
	}
	if files, _ := os.ReadDir("."); len(files) > 0 {
		t.Errorf("there is a file %s", files[0].Name())
	}
}

// TestResetAndBack: what --execute wrote, the file that it left takes back: offset,
// leader epoch and metadata.
func TestResetAndBack(t *testing.T) {
	env, client := standing(t)
	env.Program = "./weir"
	t.Chdir(t.TempDir())
	r := run(t.Context(), env, strings.Fields("group reset g --all-topics --shift -3 --execute")...)
	if r.code != ExitOK || stands(t, client, "g") != "t-0@1/-1/" {
		t.Fatalf("code %d, said %q, stands at %s", r.code, r.errOut, stands(t, client, "g"))
	}
	files, err := filepath.Glob("weir-undo-g-*.json")
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	back := "group reset g --from-file " + files[0] + " --execute"
	if !strings.Contains(r.errOut, "to take it back: ./weir "+back+"\n") {
		t.Errorf("said %q", r.errOut)
	}
	mustRun(t, env, back)
	if got := stands(t, client, "g"); got != "t-0@4/0/who" {
		t.Errorf("back at %s", got)
	}
}

// TestUndoOfFirstOffsets: where a group had no offset, it has none again.
func TestUndoOfFirstOffsets(t *testing.T) {
	env, client := standing(t)
	t.Chdir(t.TempDir())
	mustRun(t, env, "group reset g --topic t --to-end --execute --undo undo.json")
	if got := stands(t, client, "g"); got != "t-0@10/-1/ t-1@0/-1/" {
		t.Errorf("moved to %s", got)
	}
	mustRun(t, env, "group reset g --from-file undo.json --execute")
	if got := stands(t, client, "g"); got != "t-0@4/0/who" {
		t.Errorf("back at %s", got)
	}
}

// TestResetThatTheBrokerRefuses: by partition, with its reason.
func TestResetThatTheBrokerRefuses(t *testing.T) {
	env, client := standing(t)
	t.Chdir(t.TempDir())
	env.Stdin = strings.NewReader("topic,partition,offset,metadata\nt,0,7," + strings.Repeat("m", 5000) + "\nt,1,0,\n")
	r := run(t.Context(), env, strings.Fields("group reset g --from-file - --execute -O csv")...)
	if r.code != ExitFailed || !strings.Contains(r.out, "g,t,0,4,7,3,3,failed,,OFFSET_METADATA_TOO_LARGE\n") || !strings.Contains(r.out, "g,t,1,,0,,0,changed,,\n") {
		t.Errorf("code %d, said %q, printed %q", r.code, r.errOut, r.out)
	}
	if got := stands(t, client, "g"); got != "t-0@4/0/who t-1@0/-1/" {
		t.Errorf("the group stands at %s", got)
	}
}

// TestDeleteSomeOffsets: those that were named, and no others.
func TestDeleteSomeOffsets(t *testing.T) {
	env, client := standing(t)
	mustRun(t, env, "group reset g --topic t:1 --to-start --execute --undo "+filepath.Join(t.TempDir(), "undo.json"))
	if out := mustRun(t, env, "group delete g --topic t:0 --yes -O csv"); !strings.Contains(out, "g,t:0,deleted,\n") {
		t.Errorf("printed %q", out)
	}
	if got := stands(t, client, "g"); got != "t-1@0/-1/" {
		t.Errorf("the group stands at %s", got)
	}
}

// TestResetKeepsAnUndoThatIsThere: nothing is written without an undo.
func TestResetKeepsAnUndoThatIsThere(t *testing.T) {
	env, client := standing(t)
	name := filepath.Join(t.TempDir(), "undo.json")
	if err := os.WriteFile(name, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t.Context(), env, "group", "reset", "g", "--topic", "t", "--to-end", "--execute", "--undo", name)
	if r.code != ExitFailed || !strings.Contains(r.errOut, "nothing was written") || !strings.Contains(r.errOut, "exists") {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
	if b, _ := os.ReadFile(name); string(b) != "mine" {
		t.Errorf("the file holds %q", b)
	}
	if got := stands(t, client, "g"); got != "t-0@4/0/who" {
		t.Errorf("the group stands at %s", got)
	}
}

// TestResetIsAllOrNothing: a partition that does not exist keeps the others back.
func TestResetIsAllOrNothing(t *testing.T) {
	env, client := standing(t)
	t.Chdir(t.TempDir())
	for _, args := range []string{
		"group reset g --topic t:0,5 --to-end --execute",
		"group reset g --topic t --topic nope --to-end --execute",
	} {
		r := run(t.Context(), env, strings.Fields(args)...)
		if r.code != ExitFailed || !strings.Contains(r.errOut, "nothing was written") || !strings.Contains(r.out, "UNKNOWN_TOPIC_OR_PARTITION") {
			t.Errorf("weir %s: code %d, said %q, printed %q", args, r.code, r.errOut, r.out)
		}
	}
	if got := stands(t, client, "g"); got != "t-0@4/0/who" {
		t.Errorf("the group stands at %s", got)
	}
}

// TestResetChangesNothing: then there is nothing to take back either.
func TestResetChangesNothing(t *testing.T) {
	env, client := standing(t)
	t.Chdir(t.TempDir())
	r := run(t.Context(), env, strings.Fields("group reset g --topic t:0 --to-offset 4 --execute -O json")...)
	if r.code != ExitOK || !strings.Contains(r.errOut, "nothing to change") || !strings.Contains(r.out, `"status": "unchanged"`) {
		t.Errorf("code %d, said %q, printed %q", r.code, r.errOut, r.out)
	}
	if files, _ := os.ReadDir("."); len(files) > 0 || stands(t, client, "g") != "t-0@4/0/who" {
		t.Errorf("files %v, the group stands at %s", files, stands(t, client, "g"))
	}
}

// TestResetOfAGroupWithMembers: refused, with their names and the next step.
func TestResetOfAGroupWithMembers(t *testing.T) {
	b := brokertest.Start(t)
	env := against(b)
	t.Chdir(t.TempDir())
	mustRun(t, env, "topic create t -p 1")
	stop := member(t, b, kgo.ClientID("worker"))
	for _, execute := range []string{"", " --execute"} {
		r := run(t.Context(), env, strings.Fields("group reset g --topic t --to-end"+execute)...)
		for _, says := range []string{"group g is active", `1 member: "worker" at `, "stop its members", "weir group describe g"} {
			if !strings.Contains(r.errOut, says) {
				t.Errorf("%q does not say %q", r.errOut, says)
			}
		}
		if files, _ := os.ReadDir("."); len(files) > 0 {
			t.Errorf("there is a file %s", files[0].Name())
		}
		if want := map[string]int{"": ExitOK, " --execute": ExitFailed}[execute]; r.code != want {
			t.Errorf("code %d, want %d", r.code, want)
		}
	}
	if out := mustRun(t, env, "group members g -O csv"); !strings.Contains(out, ",worker,") || !strings.Contains(out, ",t:0,,t,") {
		t.Errorf("members:\n%s", out)
	}
	stop()
	mustRun(t, env, "group reset g --topic t --to-end --execute")
}

// member joins group g and consumes t; it has joined when this returns, and left
// when the function that it returns does.
func member(t *testing.T, b *brokertest.Broker, opts ...kgo.Opt) (stop func()) {
	t.Helper()
	joined := make(chan struct{})
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(brokertest.Address), kgo.Dialer(b.DialContext), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			if len(got) > 0 {
				close(joined)
			}
		}),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	select {
	case <-joined:
	case <-t.Context().Done():
		t.Fatal("the member has not joined")
	}
	return cl.Close
}

// TestResetMakesAGroup: with a note, from another one and by topic.
func TestResetMakesAGroup(t *testing.T) {
	env, client := standing(t)
	t.Chdir(t.TempDir())
	r := run(t.Context(), env, strings.Fields("group reset copy --from-group g --execute")...)
	if r.code != ExitOK || !strings.Contains(r.errOut, `there is no group "copy" yet: it is made`) || stands(t, client, "copy") != "t-0@4/0/who" {
		t.Errorf("code %d, said %q, stands at %s", r.code, r.errOut, stands(t, client, "copy"))
	}
	mustRun(t, env, "group reset new --topic t --to-start --execute")
	if got := stands(t, client, "new"); got != "t-0@0/-1/ t-1@0/-1/" {
		t.Errorf("the new group stands at %s", got)
	}
	for args, says := range map[string]string{
		"group reset none --all-topics --to-end": `group "none" has no offsets there`,
		"group reset g --from-group none":        `group "none" has no offsets to take`,
	} {
		if r := run(t.Context(), env, strings.Fields(args)...); r.code != ExitFailed || !strings.Contains(r.errOut, says) {
			t.Errorf("weir %s: code %d, said %q", args, r.code, r.errOut)
		}
	}
}

// TestResetFromWhatDescribePrints: a copy of a listing is a file to go back to.
func TestResetFromWhatDescribePrints(t *testing.T) {
	env, client := standing(t)
	dir := t.TempDir()
	t.Chdir(dir)
	for _, format := range []string{"csv", "json"} {
		if err := os.WriteFile(format, []byte(mustRun(t, env, "group describe g -O "+format)), 0o600); err != nil {
			t.Fatal(err)
		}
		mustRun(t, env, "group reset g --topic t:0 --to-start --execute")
		mustRun(t, env, "group reset g --from-file "+format+" --execute")
		if got := stands(t, client, "g"); got != "t-0@4/-1/who" {
			t.Errorf("%s: back at %s", format, got)
		}
	}
	env.Stdin = strings.NewReader("t,0,9\nt,1,9\n")
	r := run(t.Context(), env, strings.Fields("group reset g --topic t:1 --from-file - -O json")...)
	var plan struct {
		Items []struct {
			Partition int
			After     int
			Note      string
		}
	}
	if err := json.Unmarshal([]byte(r.out), &plan); err != nil || len(plan.Items) != 1 ||
		plan.Items[0].After != 0 || plan.Items[0].Note != "9 is beyond the log's end" {
		t.Errorf("%v: %s", err, r.out)
	}
}

func TestResetByTime(t *testing.T) {
	env, _ := standing(t)
	for args, want := range map[string]string{
		"--by-duration 1h":                      "g,t,0,4,0,-4,10,would change,,\n",
		"--to-time 2100-01-02T03:04:05Z":        "g,t,0,4,10,6,0,would change,no record since then: the log's end,\n",
		"--to-time 1767323045000":               "g,t,0,4,0,-4,10,would change,,\n",
		"--to-time 2026-01-02T03:04:05.5+01:00": "g,t,0,4,0,-4,10,would change,,\n",
	} {
		out := mustRun(t, env, "group reset g --topic t:0 -O csv "+args)
		if _, row, _ := strings.Cut(out, "\n"); row != want {
			t.Errorf("%s: %q, want %q", args, row, want)
		}
	}
}

func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{"a-b_c.d/e": "a-b_c.d/e", "a b": "'a b'", "": "''", "it's": `'it'\''s'`, "$x": "'$x'"} {
		if got := quoted(word); got != want {
			t.Errorf("%q becomes %s, want %s", word, got, want)
		}
	}
}
