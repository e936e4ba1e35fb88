package cli

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

const formatHelp = `how to print a record: %v value (or %s), %k key, %h{%k=%v } headers, %t topic,
%p partition, %o offset, %d timestamp in ms, %d{go#RFC3339#}, %V %K %H lengths, %% a percent sign;
\n \t \xNN escapes`

// newFormatter understands franz-go's verbs and those of kcat that differ in
// letter only: %s and %S for the value and its length.
func newFormatter(layout string) (*kgo.RecordFormatter, error) {
	f, err := kgo.NewRecordFormatter(kcatVerbs(layout))
	if err != nil {
		return nil, usagef("-f %q: %w", layout, err)
	}
	return f, nil
}

// kcatVerbs replaces %s by %v and %S by %V, outside of a time's format and of "%%".
func kcatVerbs(layout string) string {
	var b strings.Builder
	for i := 0; i < len(layout); i++ {
		b.WriteByte(layout[i])
		if layout[i] == '\\' && i+1 < len(layout) {
			i++
			b.WriteByte(layout[i])
			continue
		}
		if layout[i] != '%' || i+1 == len(layout) {
			continue
		}
		i++
		switch layout[i] {
		case 's':
			b.WriteByte('v')
		case 'S':
			b.WriteByte('V')
		default:
			b.WriteByte(layout[i])
			if strings.HasPrefix(layout[i:], "d{") { // strftime has a %s of its own
				n := len(layout[i:])
				if end := strings.IndexByte(layout[i:], '}'); end >= 0 {
					n = end + 1
				}
				b.WriteString(layout[i+1 : i+n])
				i += n - 1
			}
		}
	}
	return b.String()
}

// recordJSON is a record as -O json prints it: each line is a document of its
// own, and says its version, because it may be cut out of the stream. A key or value
// that is not UTF-8 stands in base64 under another name, so that nobody takes
// one for the other.
type recordJSON struct {
	APIVersion  string       `json:"apiVersion"`
	Kind        string       `json:"kind"`
	Topic       string       `json:"topic"`
	Partition   int32        `json:"partition"`
	Offset      int64        `json:"offset"`
	Timestamp   string       `json:"timestamp"`
	Key         *string      `json:"key"`
	KeyBase64   *string      `json:"key_base64,omitempty"`
	Value       *string      `json:"value"`
	ValueBase64 *string      `json:"value_base64,omitempty"`
	Headers     []headerJSON `json:"headers"`
}

type headerJSON struct {
	Key         string  `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

// appendJSON appends the record and a newline.
func appendJSON(b []byte, r *kgo.Record) []byte {
	out := recordJSON{
		APIVersion: apiVersion, Kind: "Record", Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		Timestamp: r.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z07:00"),
		Headers:   []headerJSON{},
	}
	out.Key, out.KeyBase64 = textOrBase64(r.Key)
	out.Value, out.ValueBase64 = textOrBase64(r.Value)
	for _, h := range r.Headers {
		entry := headerJSON{Key: h.Key}
		entry.Value, entry.ValueBase64 = textOrBase64(h.Value)
		out.Headers = append(out.Headers, entry)
	}
	line, err := json.Marshal(out)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return append(append(b, line...), '\n')
}

func textOrBase64(b []byte) (text, encoded *string) {
	if b == nil {
		return nil, nil
	}
	if utf8.Valid(b) {
		s := string(b)
		return &s, nil
	}
	s := base64.StdEncoding.EncodeToString(b)
	return nil, &s
}
