package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
)

func TestParseOffsets(t *testing.T) {
	one := givenOffsets{offsets: map[mark]*kadm.Offset{{"t", 0}: {Topic: "t", At: 5, LeaderEpoch: -1}}}
	full := givenOffsets{exact: true, offsets: map[mark]*kadm.Offset{
		{"t", 0}: {Topic: "t", At: 5, LeaderEpoch: 2, Metadata: "m"}, {"t", 1}: nil}}
	for name, c := range map[string]struct {
		in   string
		want givenOffsets
	}{
		"CSV as Kafka's tool exports it": {"t,0,5\n", one},
		"of several groups":              {"g,t,0,5\nh,t,0,6\n", one},
		"CSV with names":                 {"partition,offset,topic\n0,5,t\n", one},
		"what describe prints as CSV":    {"group,state,topic,partition,committed,end\ng,Empty,t,0,5,9\ng,Empty,t,1,,9\nh,Empty,t,1,3,9\n", one},
		"JSON":                           {`{"apiVersion":"weir/v1","kind":"GroupOffsets","items":[{"topic":"t","partition":0,"offset":5}]}`, one},
		"what describe prints as JSON":   {`{"apiVersion":"weir/v1","kind":"GroupDescription","items":[{"group":"g","topic":"t","partition":0,"committed":5,"lag":1},{"group":"g","topic":"t","partition":1,"committed":null},{"group":"h","topic":"t","partition":1,"committed":1},{"group":"g","topic":null}]}`, one},
		"an undo":                        {`{"apiVersion":"weir/v1","kind":"GroupOffsetsUndo","group":"g","items":[{"topic":"t","partition":0,"offset":5,"leader_epoch":2,"metadata":"m"},{"topic":"t","partition":1,"offset":null}]}`, full},
	} {
		got, err := parseOffsets([]byte(c.in), "g")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(givenOffsets{}, mark{})); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestParseOffsetsRefuses(t *testing.T) {
	document := func(kind, items string) string {
		return `{"apiVersion":"weir/v1","kind":"` + kind + `","group":"g","items":[` + items + `]}`
	}
	for in, says := range map[string]string{
		"":                     "it is empty",
		"t,0":                  "want topic,partition,offset",
		"t,0,5\nt,0":           "record 2 has 2 fields",
		"t,x,5":                `"x" is no number`,
		"t,0,":                 "item 1 has no offset",
		",0,5":                 "item 1 has no topic",
		"t,-1,5":               "item 1 has no topic or no partition",
		"t,0,-5":               "item 1 has the offset -5",
		"t,0,5\nt,0,6":         "t-0 is in it twice",
		"h,t,0,5":              `no offset of group "g"`,
		"t,3000000000,5":       "is no number",
		`"t,0,5`:               "quote",
		"{":                    "unexpected end",
		`{"kind":"TopicList"}`: `it is "TopicList"`,
		strings.Replace(document(kindUndo, `{"topic":"t","partition":0,"offset":1}`), `"g"`, `"h"`, 1): `the offsets of group "h", not of "g"`,
		document(kindOffsets, `{"topic":"t","partition":0,"offset":null}`):                             "item 1 has no offset",
		document(kindOffsets, `{"topic":"t","offset":1}`):                                              "no partition",
		document(kindUndo, ``): "holds no offset",
	} {
		if _, err := parseOffsets([]byte(in), "g"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", in, err, says)
		}
	}
}

func FuzzParseOffsets(f *testing.F) {
	f.Add([]byte("t,0,5\n"))
	f.Add([]byte("topic,partition,offset,leader_epoch,metadata\nt,0,5,1,m\n"))
	f.Add([]byte(`{"apiVersion":"weir/v1","kind":"GroupOffsetsUndo","group":"g","items":[{"topic":"t","partition":1,"offset":null}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		given, err := parseOffsets(b, "g")
		if err != nil {
			return
		}
		for at, o := range given.offsets {
			if at.topic == "" || at.partition < 0 || o == nil && !given.exact || o != nil && o.At < 0 {
				t.Errorf("took %+v of %v", o, at)
			}
		}
	})
}

func TestReadOffsetsThatAreTooMany(t *testing.T) {
	a := &app{Env: Env{Stdin: strings.NewReader(strings.Repeat("t,0,5\n", maxOffsetFile/6+1))}}
	if _, err := a.readOffsets("-", "g"); err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("%v", err)
	}
}

func TestWriteUndo(t *testing.T) {
	name := filepath.Join(t.TempDir(), "undo.json")
	file := undoOf("g", []move{{position: position{mark: mark{"t", 1}, now: at(7)}}}, time.Unix(0, 0))
	if err := writeUndo(name, file); err != nil {
		t.Fatal(err)
	}
	var back offsetFile
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, &back)
	}
	if diff := cmp.Diff(file, back); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if err := writeUndo(name, offsetFile{}); err == nil || !strings.Contains(err.Error(), "exists: name another file with --undo") {
		t.Errorf("a second one: %v", err)
	}
	if again, _ := os.ReadFile(name); string(again) != string(b) {
		t.Error("the second one changed the first")
	}
}

func TestUndoName(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("", 3600))
	for group, want := range map[string]string{
		"stock":                  "weir-undo-stock-20260102T020405.006Z.json",
		"../a b/é":               "weir-undo-.._a_b__-20260102T020405.006Z.json",
		strings.Repeat("x", 300): "weir-undo-" + strings.Repeat("x", 100) + "-20260102T020405.006Z.json",
	} {
		if got := undoName(group, now); got != want {
			t.Errorf("%q: %q, want %q", group, got, want)
		}
	}
}
