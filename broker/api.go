package broker

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// api is a row of the table of what is served. ApiVersions, dispatch, metrics,
// later authorisation and quotas, and doc/protocol.md all come from it.
type api struct {
	key      kmsg.Key
	min, max int16
	// fromZero: ApiVersions tells versions from 0 on, though those below min
	// close the connection (only Produce, see there).
	fromZero bool
	limit    int // largest request, in bytes; 0: socket.request.max.bytes
	// cost is how many bytes decoding may allocate for each byte of a request
	// that lies about its array lengths. kmsg makes an array when its length is
	// not above the bytes left, so a byte may become a whole element. The
	// product counts against the budget of the broker while it is decoded.
	cost     int
	acl      string   // the operation that an ACL will have to allow, and on what
	throttle throttle // which quota it will count for
	handler  handler

	flexible int16 // first version with tagged fields in the headers; set by newAPITable
	seconds  prometheus.Observer
}

// name is the API's name in Kafka's documentation.
func (a *api) name() string { return apiName(a.key.Int16()) }

// apiName is a key's name in Kafka's documentation, which kmsg spells in Go's way.
func apiName(key int16) string {
	if key == kmsg.InitProducerID.Int16() {
		return "InitProducerId"
	}
	return kmsg.NameForKey(key)
}

// advertisedMin is the lowest version told to clients.
func (a *api) advertisedMin() int16 {
	if a.fromZero {
		return 0
	}
	return a.min
}

// observe records how long a request took.
func (a *api) observe(s *slot) {
	if a.seconds != nil {
		a.seconds.Observe(time.Since(s.start).Seconds())
	}
}

// firstFlexible is the first version of a key whose headers have tagged fields.
func firstFlexible(key kmsg.Key, maxVersion int16) int16 {
	req := key.Request()
	for v := range maxVersion + 1 {
		req.SetVersion(v)
		if req.IsFlexible() {
			return v
		}
	}
	return maxVersion + 1
}

// throttle says which kind of quota a request counts for.
type throttle string

const (
	throttleProduce  throttle = "produce bytes"
	throttleFetch    throttle = "fetch bytes"
	throttleRequest  throttle = "request time"
	throttleMutation throttle = "partition mutations"
	throttleNone     throttle = "exempt"
)

// handler serves one request. An error means that the body cannot be read and
// closes the connection; every other failure is an answer.
type handler func(c *call, body []byte) error

// errUndecodable: the bytes are not a request of the version that they claim.
var errUndecodable = errors.New("request cannot be decoded")

// decoded makes a handler of a method that takes a request of kmsg. The body is
// copied first: kmsg's byte fields are views, and the request may be kept.
func decoded[T any, R interface {
	*T
	kmsg.Request
}](serve func(c *call, req R)) handler {
	return func(c *call, body []byte) error {
		req := R(new(T))
		req.SetVersion(c.version)
		own := append(make([]byte, 0, len(body)), body...)
		if err := req.ReadFrom(own); err != nil {
			return fmt.Errorf("%w: %w", errUndecodable, err)
		}
		serve(c, req)
		return nil
	}
}

// apiTable finds rows by key.
type apiTable struct {
	rows  []api // sorted by key
	byKey map[int16]*api
}

func newAPITable(parts ...[]api) *apiTable {
	t := &apiTable{byKey: map[int16]*api{}}
	for _, rows := range parts {
		t.rows = append(t.rows, rows...)
	}
	slices.SortFunc(t.rows, func(a, b api) int { return cmp.Compare(a.key, b.key) })
	for i := range t.rows {
		key := t.rows[i].key.Int16()
		if t.byKey[key] != nil {
			panic(fmt.Sprintf("API key %d stands twice in the table", key))
		}
		t.rows[i].flexible = firstFlexible(t.rows[i].key, t.rows[i].max)
		t.byKey[key] = &t.rows[i]
	}
	return t
}

// find returns the row that serves a version of a key, or nil.
func (t *apiTable) find(key, version int16) *api {
	a := t.byKey[key]
	if a == nil || version < a.min || version > a.max {
		return nil
	}
	return a
}
