package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"go.yaml.in/yaml/v3"
)

const apiVersion = "weir/v1"

var outputs = []string{"table", "wide", "json", "yaml", "csv", "name"}

// column is one field of every row. Its name is that of the field in JSON; in a
// table it is printed in capitals, with hyphens, so that it has no spaces.
type column struct {
	name string
	wide bool // in a table only with -O wide; always in the other formats
}

// listing is what a command answers: rows under columns, each with its error.
type listing struct {
	kind string
	cols []column
	rows []listed
}

type listed struct {
	values []any // string, int64, int32, int, bool, nil (unknown) or []string; as many as there are columns
	err    error
}

func newListing(kind string, cols ...column) *listing { return &listing{kind: kind, cols: cols} }

func (l *listing) add(err error, values ...any) {
	l.rows = append(l.rows, listed{values, err})
}

// sortByName orders the rows by their first column.
func (l *listing) sortByName() {
	slices.SortStableFunc(l.rows, func(a, b listed) int { return strings.Compare(text(a.values[0]), text(b.values[0])) })
}

// failed tells whether any row has an error.
func (l *listing) failed() bool {
	return slices.ContainsFunc(l.rows, func(r listed) bool { return r.err != nil })
}

// checkOutput refuses an unknown format before anything is done.
func (a *app) checkOutput() error {
	if !slices.Contains(outputs, a.output) {
		return usagef("-O %s: no such format; there are %s", a.output, strings.Join(outputs, ", "))
	}
	return nil
}

// print writes the listing to standard output in the format asked for; the
// error it returns carries the exit code of rows that failed.
func (a *app) print(l *listing) error {
	if err := a.checkOutput(); err != nil {
		return err
	}
	var out bytes.Buffer
	var err error
	switch a.output {
	case "json":
		err = l.json(&out)
	case "yaml":
		err = l.yaml(&out)
	case "csv":
		err = l.csv(&out)
	case "name":
		l.names(&out)
	default:
		err = l.table(&out, a.output == "wide")
	}
	if err != nil {
		return fmt.Errorf("write %s as %s: %w", l.kind, a.output, err)
	}
	_, err = a.Stdout.Write(out.Bytes())
	if !l.failed() || err != nil && !errors.Is(err, errReaderGone) {
		return err
	}
	for _, r := range l.rows {
		if r.err != nil && exitCode(r.err) == ExitAuth {
			return &exitError{code: ExitAuth}
		}
	}
	return failed()
}

// table aligns the columns; the column error is there when it says something.
func (l *listing) table(w io.Writer, wide bool) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cell func(i int, c column) string, errText string) {
		var cells []string
		for i, c := range l.cols {
			if wide || !c.wide {
				cells = append(cells, cell(i, c))
			}
		}
		if wide || l.failed() {
			cells = append(cells, errText)
		}
		// The last cell is not padded: a line has no blanks at its end.
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	line(func(_ int, c column) string { return strings.ToUpper(strings.ReplaceAll(c.name, "_", "-")) }, "ERROR")
	for _, r := range l.rows {
		line(func(i int, _ column) string { return tableCell(r.values[i]) }, tableCell(errorText(r.err)))
	}
	return tw.Flush()
}

// tableCell never lets a value break the table or speak to the terminal: names
// come from a broker, and a broker from anywhere.
func tableCell(v any) string {
	s := text(v)
	if s == "" {
		return "-"
	}
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		return strconv.Quote(s)
	}
	return s
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []string:
		return strings.Join(v, ",")
	default:
		return fmt.Sprint(v)
	}
}

func errorText(err error) any {
	if err == nil {
		return nil
	}
	return err.Error()
}

// names prints the first column, each name once.
func (l *listing) names(w io.Writer) {
	last := ""
	for _, r := range l.rows {
		if name := text(r.values[0]); name != last && r.err == nil {
			fmt.Fprintln(w, name)
			last = name
		}
	}
}

func (l *listing) csv(w io.Writer) error {
	cw := csv.NewWriter(w)
	var head []string
	for _, c := range l.cols {
		head = append(head, c.name)
	}
	if err := cw.Write(append(head, "error")); err != nil {
		return err
	}
	for _, r := range l.rows {
		var cells []string
		for _, v := range r.values {
			cells = append(cells, text(v))
		}
		if err := cw.Write(append(cells, text(errorText(r.err)))); err != nil {
			return err
		}
	}
	cw.Flush()
	return cw.Error()
}

// json keeps the order of the columns, which a map would lose.
func (l *listing) json(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"apiVersion":%q,"kind":%q,"items":[`, apiVersion, l.kind)
	for i, r := range l.rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('{')
		for j, c := range l.cols {
			if err := jsonField(&b, c.name, r.values[j]); err != nil {
				return err
			}
			b.WriteByte(',')
		}
		if err := jsonField(&b, "error", errorText(r.err)); err != nil {
			return err
		}
		b.WriteByte('}')
	}
	b.WriteString("]}")
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, b.Bytes(), "", "  "); err != nil {
		return err
	}
	pretty.WriteByte('\n')
	_, err := w.Write(pretty.Bytes())
	return err
}

func jsonField(b *bytes.Buffer, name string, value any) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "%q:%s", name, encoded)
	return nil
}

func (l *listing) yaml(w io.Writer) error {
	items := &yaml.Node{Kind: yaml.SequenceNode}
	for _, r := range l.rows {
		item := &yaml.Node{Kind: yaml.MappingNode}
		for j, c := range l.cols {
			if err := yamlField(item, c.name, r.values[j]); err != nil {
				return err
			}
		}
		if err := yamlField(item, "error", errorText(r.err)); err != nil {
			return err
		}
		items.Content = append(items.Content, item)
	}
	if len(items.Content) == 0 {
		items.Style = yaml.FlowStyle // "items: []"
	}
	doc := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range [][2]string{{"apiVersion", apiVersion}, {"kind", l.kind}} {
		if err := yamlField(doc, f[0], f[1]); err != nil {
			return err
		}
	}
	doc.Content = append(doc.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "items"}, items)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return err
	}
	return enc.Close()
}

func yamlField(m *yaml.Node, name string, value any) error {
	v := &yaml.Node{}
	if err := v.Encode(value); err != nil {
		return err
	}
	m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, v)
	return nil
}
