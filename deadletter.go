package weir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/twmb/franz-go/pkg/kgo"
)

// stage is where a record failed.
type stage string

const (
	stageDecode  stage = "decode"
	stageHandle  stage = "handle"
	stageProduce stage = "produce"
)

// A dead letter's headers follow the record's own. The first six are KIP-1034's,
// all as text; a reader takes the last of each name, since a record that was a
// dead letter before has them twice.
const (
	headerException   = "__streams.errors.exception" // the error's type
	headerStacktrace  = "__streams.errors.stacktrace"
	headerMessage     = "__streams.errors.message"
	headerTopic       = "__streams.errors.topic"
	headerPartition   = "__streams.errors.partition"
	headerOffset      = "__streams.errors.offset"
	headerApp         = "weir.dlq.app"  // the group
	headerNode        = "weir.dlq.node" // the handler: "handle/" and its topic
	headerAttempts    = "weir.dlq.attempts"
	headerFailedAt    = "weir.dlq.first-failed-at" // RFC 3339 with milliseconds, UTC
	headerFingerprint = "weir.dlq.fingerprint"     // equal for errors that differ in numbers and quoted text only
	headerStage       = "weir.dlq.stage"
	headerOmitted     = "weir.dlq.omitted" // only if the dead letter was too large: what of the record it lacks
)

// What an error says is cut to these lengths, so that a dead letter is hardly
// larger than its record.
const (
	maxMessageBytes    = 1 << 10
	maxStacktraceBytes = 8 << 10
)

// letter is why a record failed.
type letter struct {
	err      error
	stage    stage
	attempts int
	failedAt time.Time
	omits    omission
}

// omission is what a dead letter lacks that was too large otherwise; each step
// includes those before. The record itself lies where the headers say.
type omission int

const (
	omitNothing omission = iota
	omitStacktrace
	omitValue
	omitAll // key and headers too
)

func (o omission) String() string {
	return [...]string{"nothing", "stack trace", "value", "key, value and headers"}[o]
}

// smaller is the letter to write if this one is too large for the broker.
func (l letter) smaller() (less letter, ok bool) {
	less = l
	less.omits++
	return less, l.omits < omitAll
}

// record makes the dead letter of rec: same key, value, headers and timestamp,
// with the reason in further headers.
func (l letter) record(rec *kgo.Record, group, to string) *kgo.Record {
	add := [...]struct{ key, value string }{
		{headerException, typeName(l.err)},
		{headerStacktrace, cut(trace(l.err), maxStacktraceBytes)},
		{headerMessage, cut(l.err.Error(), maxMessageBytes)},
		{headerTopic, rec.Topic},
		{headerPartition, strconv.Itoa(int(rec.Partition))},
		{headerOffset, strconv.FormatInt(rec.Offset, 10)},
		{headerApp, group},
		{headerNode, "handle/" + rec.Topic},
		{headerAttempts, strconv.Itoa(l.attempts)},
		{headerFailedAt, l.failedAt.UTC().Format("2006-01-02T15:04:05.000Z07:00")},
		{headerFingerprint, fingerprint(l.stage, l.err)},
		{headerStage, string(l.stage)},
	}
	dead := &kgo.Record{Topic: to, Key: rec.Key, Value: rec.Value, Headers: slices.Clone(rec.Headers), Timestamp: rec.Timestamp}
	if l.omits >= omitValue {
		dead.Value = nil
	}
	if l.omits >= omitAll {
		dead.Key, dead.Headers = nil, nil
	}
	for _, h := range add {
		if l.omits == omitNothing || h.key != headerStacktrace {
			dead.Headers = append(dead.Headers, Header{Key: h.key, Value: []byte(h.value)})
		}
	}
	if l.omits >= omitValue {
		what := fmt.Sprintf("%s; the value has %d bytes and lies in %s-%d at offset %d", l.omits, len(rec.Value), rec.Topic, rec.Partition, rec.Offset)
		dead.Headers = append(dead.Headers, Header{Key: headerOmitted, Value: []byte(what)})
	}
	return dead
}

// burial is a dead letter's context.
type burial struct {
	*origin
	letter letter
}

// bury writes the dead letter; its acknowledgement completes t.
func (a *App) bury(t *task, l letter) {
	a.send(&burial{(*origin)(t), l}, l.record(t.rec, a.cfg.Group, t.p.sub.policy.deadLetter), buried)
}

// buried runs on the client's producer goroutine. One that is too large is tried
// smaller, or its record would stop the App on every start. A dead letter that
// cannot be written leaves its record unfinished, so the App cannot go on.
func buried(rec *kgo.Record, err error) {
	b := rec.Context.(*burial)
	t := (*task)(b.origin)
	if isTooLarge(err) {
		if less, ok := b.letter.smaller(); ok {
			t.p.refuse(refusal{t, err, &less})
			return
		}
	}
	if err != nil {
		t.giveUp(fmt.Errorf("weir: dead letter of %s-%d offset %d to %s: %w", t.p.topic, t.p.id, t.rec.Offset, rec.Topic, err))
		return
	}
	t.p.sub.deadLettered.Add(1)
	t.done()
}

// typeName is the type of the innermost error that has one of its own: wrapping
// with fmt.Errorf or Permanent says nothing about the kind of failure.
func typeName(err error) string {
	name := fmt.Sprintf("%T", err)
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch n := fmt.Sprintf("%T", e); n {
		case "*weir.permanentError", "*fmt.wrapError", "*fmt.wrapErrors", "*weir.decodeError":
		default:
			return n
		}
	}
	return name
}

// trace is a panic's stack, or else the chain of wrapped errors, one per line.
func trace(err error) string {
	var p *panicError
	if errors.As(err, &p) {
		return string(p.stack)
	}
	var b strings.Builder
	for e := err; e != nil; e = errors.Unwrap(e) {
		if _, ok := e.(*permanentError); !ok {
			fmt.Fprintf(&b, "%T: %v\n", e, e)
		}
	}
	return b.String()
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// fingerprint is 16 hexadecimal digits that are equal for errors of one stage,
// type and message, numbers and quoted text left aside.
func fingerprint(s stage, err error) string {
	sum := sha256.Sum256([]byte(string(s) + "\x00" + typeName(err) + "\x00" + pattern(err.Error())))
	return hex.EncodeToString(sum[:8])
}

// pattern replaces what varies between occurrences of one failure.
func pattern(msg string) string {
	var b strings.Builder
	quote, number := rune(0), false
	for _, r := range msg {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
			continue
		case r == '"' || r == '`':
			quote = r
			b.WriteByte('"')
		case unicode.IsDigit(r):
			if !number {
				b.WriteByte('0')
			}
		default:
			b.WriteRune(r)
		}
		number = unicode.IsDigit(r)
	}
	return b.String()
}
