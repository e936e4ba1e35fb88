package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

func sample() *kgo.Record {
	return &kgo.Record{
		Topic: "orders", Partition: 3, Offset: 42, Timestamp: time.UnixMilli(1767322800123),
		Key: []byte("k1"), Value: []byte("hello"),
		Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}},
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct{ layout, want string }{
		{`%v\n`, "hello\n"},
		{`%s\n`, "hello\n"},
		{`%t %p %o %k=%s`, "orders 3 42 k1=hello"},
		{`%S %V %K`, "5 5 2"},
		{`%%s %s`, "%s hello"},
		{`%h{%k=%s }`, "a=1 b=2 "},
		{`%H %d`, "2 1767322800123"},
		{`%d{go#RFC3339#}|%s`, "2026-01-02T03:00:00Z|hello"},
		{`%d{strftime[%F]} %s`, "2026-01-02 hello"},
		{`%v{hex}`, "68656c6c6f"},
		{`%s{base64}`, "aGVsbG8="},
		{`\x41\t%s`, "A\thello"},
		{`\\%s`, `\hello`},
	} {
		f, err := newFormatter(c.layout)
		if err != nil {
			t.Errorf("-f %q: %v", c.layout, err)
			continue
		}
		if got := string(f.AppendRecord(nil, sample())); got != c.want {
			t.Errorf("-f %q prints %q, want %q", c.layout, got, c.want)
		}
	}
}

func TestFormatRefuses(t *testing.T) {
	for _, layout := range []string{`%`, `%q`, `%v{`, `%h`, `\q`, `%d{go#2006`} {
		if _, err := newFormatter(layout); exitCode(err) != ExitUsage {
			t.Errorf("-f %q: %v, want an error of usage", layout, err)
		}
	}
}

func FuzzFormat(f *testing.F) {
	for _, s := range []string{`%v\n`, `%h{%k=%s }`, `%d{strftime[%F]}`, `%`, `%d{`, `\`} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, layout string) {
		if formatter, err := newFormatter(layout); err == nil {
			formatter.AppendRecord(nil, sample())
		}
	})
}

func TestRecordJSON(t *testing.T) {
	r := sample()
	r.Key, r.Value = []byte{0xff, 0x00}, nil
	r.Headers = []kgo.RecordHeader{{Key: "h", Value: []byte{0xfe}}, {Key: "n"}}
	line := appendJSON(nil, r)
	if line[len(line)-1] != '\n' {
		t.Errorf("no newline at the end of %q", line)
	}
	var got any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	if begin := `{"apiVersion":"weir/v1","kind":"Record","topic":`; !strings.HasPrefix(string(line), begin) {
		t.Errorf("begins as %q, not %q", line, begin)
	}
	want := map[string]any{
		"apiVersion": "weir/v1", "kind": "Record",
		"topic": "orders", "partition": 3.0, "offset": 42.0, "timestamp": "2026-01-02T03:00:00.123Z",
		"key": nil, "key_base64": "/wA=", "value": nil,
		"headers": []any{
			map[string]any{"key": "h", "value": nil, "value_base64": "/g=="},
			map[string]any{"key": "n", "value": nil},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want - got +\n%s", diff)
	}
}
