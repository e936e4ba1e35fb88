package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxLine bounds the memory that input without a delimiter takes. A broker
// takes far less in one record.
const maxLine = 64 << 20

// readLayout checks the flags that say how input is cut into records, and
// replaces the escapes in the delimiters.
func (p *production) readLayout() (string, error) {
	if p.format != "" {
		layout := kcatVerbs(p.format)
		if _, err := kgo.NewRecordReader(strings.NewReader(""), layout); err != nil {
			return "", usagef("-f %q: %w", p.format, err)
		}
		return layout, nil
	}
	var err error
	if p.delimiter, err = unescape(p.delimiter); err != nil || p.delimiter == "" {
		return "", usagef(`-D %q: want at least one character; \n, \t, \0 and \xNN are understood`, p.delimiter)
	}
	if p.keyDelimiter, err = unescape(p.keyDelimiter); err != nil {
		return "", usagef(`-K %q: \n, \t, \0 and \xNN are understood`, p.keyDelimiter)
	}
	return "", nil
}

// unescape replaces \n \t \r \0 \\ and \xNN.
func unescape(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found {
			break
		}
		if strings.HasPrefix(after, "0") {
			b.WriteByte(0)
			s = after[1:]
			continue
		}
		_, multibyte, rest, err := strconv.UnquoteChar(`\`+after, 0)
		if err != nil || multibyte {
			return "", fmt.Errorf("bad escape in %q", `\`+after)
		}
		char, _, _, _ := strconv.UnquoteChar(`\`+after, 0)
		b.WriteByte(byte(char))
		s = rest
	}
	return b.String(), nil
}

// decode cuts a stream into records and hands them on until it ends.
func (p *production) decode(ctx context.Context, in io.Reader, records chan<- *kgo.Record) error {
	next := p.lineReader(in)
	if p.format != "" {
		reader, err := kgo.NewRecordReader(in, p.layout)
		if err != nil {
			return err
		}
		next = reader.ReadRecord
	}
	for n := 1; ; n++ {
		r, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		p.complete(r)
		select {
		case records <- r:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// complete adds what the flags say of every record.
func (p *production) complete(r *kgo.Record) {
	r.Topic = p.topic
	r.Partition = max(p.partition, 0)
	if p.key != nil {
		r.Key = p.key
	}
	if p.tombstones && len(r.Value) == 0 {
		r.Value = nil
	} else if r.Value == nil {
		r.Value = []byte{} // an empty line is an empty value, not a tombstone
	}
	r.Headers = append(r.Headers, p.header...)
}

// lineReader reads records up to the delimiter; the last one needs none.
func (p *production) lineReader(in io.Reader) func() (*kgo.Record, error) {
	reader := bufio.NewReaderSize(in, 64<<10)
	return func() (*kgo.Record, error) {
		line, err := readUntil(reader, []byte(p.delimiter))
		if err != nil {
			return nil, err
		}
		r := &kgo.Record{Value: line}
		if p.keyDelimiter != "" {
			key, value, ok := bytes.Cut(line, []byte(p.keyDelimiter))
			if !ok {
				return nil, fmt.Errorf("no key: there is no %q in it", p.keyDelimiter)
			}
			r.Key, r.Value = key, value
		}
		return r, nil
	}
}

// readUntil returns what comes before the delimiter, in memory of its own.
func readUntil(r *bufio.Reader, delimiter []byte) ([]byte, error) {
	line := []byte{}
	last := delimiter[len(delimiter)-1]
	for {
		chunk, err := r.ReadSlice(last)
		line = append(line, chunk...)
		switch {
		case len(line) > maxLine:
			return nil, fmt.Errorf("longer than %d bytes", maxLine)
		case err == nil && bytes.HasSuffix(line, delimiter):
			return line[:len(line)-len(delimiter)], nil
		case err == io.EOF && len(line) > 0:
			return line, nil
		case err != nil && err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}
