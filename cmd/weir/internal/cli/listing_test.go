package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.yaml.in/yaml/v3"
)

// twoTopics is a listing with what is hard to print: a list, an unknown value,
// a wide column, text that would break a table, and an item that failed.
func twoTopics(err error) *listing {
	l := newListing("TopicList", column{name: "topic"}, column{name: "end_offset"}, column{name: "isr"}, column{name: "id", wide: true})
	l.add(nil, "a", int64(7), []string{"1", "2"}, "x,\"y\"")
	l.add(err, "b\x1b[2J", nil, []string{}, "")
	return l
}

func render(t *testing.T, l *listing, output string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	a := &app{Env: Env{Stdout: &out}, output: output}
	err := a.print(l)
	return out.String(), err
}

func TestOutputs(t *testing.T) {
	boom := errors.New("boom: twice")
	for _, c := range []struct {
		output, want string
		err          error
	}{
		{"table", "TOPIC       END-OFFSET  ISR\na           7           1,2\n\"b\\x1b[2J\"  -           -\n", nil},
		{"table", "TOPIC       END-OFFSET  ISR  ERROR\na           7           1,2  -\n\"b\\x1b[2J\"  -           -    boom: twice\n", boom},
		{"wide", "TOPIC       END-OFFSET  ISR  ID     ERROR\na           7           1,2  x,\"y\"  -\n\"b\\x1b[2J\"  -           -    -      -\n", nil},
		{"csv", "topic,end_offset,isr,id,error\na,7,\"1,2\",\"x,\"\"y\"\"\",\nb\x1b[2J,,,,boom: twice\n", boom},
		{"name", "a\nb\x1b[2J\n", nil},
		{"name", "a\n", boom},
	} {
		got, err := render(t, twoTopics(c.err), c.output)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("-O %s: want - got +\n%s", c.output, diff)
		}
		if want := c.err != nil; want != (exitCode(err) == ExitFailed) {
			t.Errorf("-O %s with the error %v exits with %d", c.output, c.err, exitCode(err))
		}
	}
}

func TestOutputDocuments(t *testing.T) {
	want := map[string]any{
		"apiVersion": "weir/v1", "kind": "TopicList",
		"items": []any{
			map[string]any{"topic": "a", "end_offset": 7.0, "isr": []any{"1", "2"}, "id": "x,\"y\"", "error": nil},
			map[string]any{"topic": "b\x1b[2J", "end_offset": nil, "isr": []any{}, "id": "", "error": "boom"},
		},
	}
	for output, decode := range map[string]func([]byte, any) error{"json": json.Unmarshal, "yaml": yaml.Unmarshal} {
		out, err := render(t, twoTopics(errors.New("boom")), output)
		if exitCode(err) != ExitFailed {
			t.Errorf("-O %s exits with %d", output, exitCode(err))
		}
		var got map[string]any
		if err := decode([]byte(out), &got); err != nil {
			t.Fatalf("-O %s: %v in\n%s", output, err, out)
		}
		if items, ok := got["items"].([]any); ok {
			if n, ok := items[0].(map[string]any)["end_offset"].(int); ok {
				items[0].(map[string]any)["end_offset"] = float64(n)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-O %s: want - got +\n%s", output, diff)
		}
		if i, j := strings.Index(out, "topic"), strings.Index(out, "end_offset"); i > j {
			t.Errorf("-O %s loses the order of the columns:\n%s", output, out)
		}
	}
}

func TestOutputOfNothing(t *testing.T) {
	for output, want := range map[string]string{
		"table": "TOPIC\n", "csv": "topic,error\n", "name": "",
		"json": "{\n  \"apiVersion\": \"weir/v1\",\n  \"kind\": \"TopicList\",\n  \"items\": []\n}\n",
		"yaml": "apiVersion: weir/v1\nkind: TopicList\nitems: []\n",
	} {
		got, err := render(t, newListing("TopicList", column{name: "topic"}), output)
		if err != nil || got != want {
			t.Errorf("-O %s of nothing: %q, %v; want %q", output, got, err, want)
		}
	}
}

func TestOutputUnknown(t *testing.T) {
	if out, err := render(t, twoTopics(nil), "xml"); exitCode(err) != ExitUsage || out != "" {
		t.Errorf("-O xml: %q, %v", out, err)
	}
}

// TestDeniedRow: a script must be able to tell "not allowed" from "failed".
func TestDeniedRow(t *testing.T) {
	if _, err := render(t, twoTopics(kerr.TopicAuthorizationFailed), "table"); exitCode(err) != ExitAuth {
		t.Errorf("exit code %d, want %d", exitCode(err), ExitAuth)
	}
}
