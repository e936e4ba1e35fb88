package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

// decodeAll cuts input into records as produce does with these flags.
func decodeAll(t *testing.T, input io.Reader, args ...string) ([]*kgo.Record, error) {
	t.Helper()
	a := &app{Env: Env{Now: time.Now}}
	var p *production
	cmd := a.produceCommand()
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	text := func(name string) string { return cmd.Flags().Lookup(name).Value.String() }
	headers, err := cmd.Flags().GetStringArray("header")
	if err != nil {
		t.Fatal(err)
	}
	p, err = a.newProduction(produceFlags{
		key: text("key"), keyDelimiter: text("key-delimiter"), delimiter: text("delimiter"), format: text("format"),
		headers: headers, tombstones: text("tombstone") == "true", partition: -1, acks: "all", compression: "none",
	}, cmd, "t")
	if err != nil {
		return nil, err
	}
	var records []*kgo.Record
	err = p.readOne(t.Context(), "input", input, func(r *kgo.Record) { records = append(records, r) })
	return records, err
}

func TestLines(t *testing.T) {
	for _, c := range []struct{ args, input, want string }{
		{"", "a\nb\n", "(null)=a (null)=b"},
		{"", "a\nb", "(null)=a (null)=b"},
		{"", "", ""},
		{"", "\n", "(null)="},
		{"", "a\r\n", "(null)=a\r"},
		{"-Z", "\na\n", "(null)=(null) (null)=a"},
		{"-k key", "a\nb\n", "key=a key=b"},
		{"-K :", "k:v\n:\nx:y:z\n", "k=v = x=y:z"},
		{`-K \t`, "k\tv\n", "k=v"},
		{"-K ::", "a:b::c\n", "a:b=c"},
		{"-D ;", "a;b\nc;", "(null)=a (null)=b\nc"},
		{`-D \0`, "a\x00b", "(null)=a (null)=b"},
		{"-D ab", "xbabyaab", "(null)=xb (null)=ya"},
		{`-f %k\t%v\n`, "k\tv\nl\tw\n", "k=v l=w"},
		{`-f %k\t%s\n`, "k\tv\n", "k=v"},
	} {
		records, err := decodeAll(t, strings.NewReader(c.input), strings.Fields(c.args)...)
		if err != nil {
			t.Errorf("%s of %q: %v", c.args, c.input, err)
			continue
		}
		var got []string
		for _, r := range records {
			got = append(got, show(r.Key)+"="+show(r.Value))
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s of %q: want - got +\n%s", c.args, c.input, diff)
		}
	}
}

func show(b []byte) string {
	if b == nil {
		return "(null)"
	}
	return string(b)
}

func TestLineHeaders(t *testing.T) {
	records, err := decodeAll(t, strings.NewReader("v\n"), "-H", "a=1", "-H", "b=x=y")
	want := []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("x=y")}}
	if err != nil || len(records) != 1 {
		t.Fatalf("%v, %v", records, err)
	}
	if diff := cmp.Diff(want, records[0].Headers); diff != "" {
		t.Errorf("want - got +\n%s", diff)
	}
}

func TestLinesRefuse(t *testing.T) {
	if records, err := decodeAll(t, strings.NewReader("k:v\nnone\n"), "-K", ":"); err == nil || !strings.Contains(err.Error(), "record 2") {
		t.Errorf("a line without key: %d records, %v", len(records), err)
	}
	broken := errors.New("broken")
	if _, err := decodeAll(t, io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("an input that fails: %v", err)
	}
}

// endless is a stream without any delimiter.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	e.read += len(b)
	return len(b), nil
}

func TestLineWithoutEndIsBounded(t *testing.T) {
	input := &endless{}
	if _, err := readUntil(bufio.NewReader(input), []byte("\n")); err == nil || input.read > maxLine+1<<20 {
		t.Errorf("read %d bytes, %v", input.read, err)
	}
}

// TestReadIsInterrupted: a terminal that says nothing does not hold produce.
func TestReadIsInterrupted(t *testing.T) {
	silent, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &production{produceFlags: produceFlags{delimiter: "\n"}}
	if err := p.readOne(ctx, "input", silent, func(*kgo.Record) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the cancellation", err)
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		`a`: "a", `\n`: "\n", `\t|`: "\t|", `\0`: "\x00", `\x1f`: "\x1f", `\\n`: `\n`, `a\nb\n`: "a\nb\n", ``: "", `é`: "é", `\xe9`: "\xe9",
	} {
		if got, err := unescape(in); err != nil || got != want {
			t.Errorf("unescape(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{`\`, `\q`, `\x1`, `a\`} {
		if got, err := unescape(in); err == nil {
			t.Errorf("unescape(%q) = %q, want an error", in, got)
		}
	}
}

func FuzzUnescape(f *testing.F) {
	f.Add(`a\n\x1f\0\\`)
	f.Fuzz(func(_ *testing.T, s string) { _, _ = unescape(s) })
}
