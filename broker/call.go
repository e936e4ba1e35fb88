package broker

import (
	"context"
	"encoding/binary"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// call is one request being served. A handler answers it exactly once, at once
// or later, from any goroutine, with reply; the connection writes the answers
// in the order of the requests.
//
// A handler is a method with the request's own type,
//
//	func (h *coordinator) joinGroup(c *call, req *kmsg.JoinGroupRequest)
//
// and stands in a row of the API table as decoded(h.joinGroup); the coordinator
// gives its rows with func (h *coordinator) apis() []api. It runs on the
// goroutine that reads the connection, so it must not wait for a sync or for
// another client: it hands the call on and returns, and reply comes later. The
// request's strings and bytes are its own to keep.
type call struct {
	ctx      context.Context // ends when the connection closes or the broker stops
	key      int16
	version  int16
	clientID string
	host     string // the client's address as Kafka prints it: "/127.0.0.1"

	correlation int32
	flexible    bool // the answer's header ends with tagged fields
	conn        *conn
	slot        *slot
}

// reply answers the call once lsn is durable; 0 waits for nothing.
func (c *call) reply(resp kmsg.Response, lsn storage.LSN) {
	resp.SetVersion(c.version)
	if b := c.conn.b; b != nil {
		b.metrics.countErrors(resp)
	}
	buf := appendHeader(c.slot.buf[:0], c.correlation, c.flexible)
	c.slot.buf = resp.AppendTo(buf)
	c.finish(lsn, storage.Durable)
}

// appendHeader begins an answer: room for the length, the correlation id, and
// the header's tagged fields where there are any.
func appendHeader(buf []byte, correlation int32, flexible bool) []byte {
	buf = append(buf, 0, 0, 0, 0)
	buf = binary.BigEndian.AppendUint32(buf, uint32(correlation))
	if flexible {
		buf = append(buf, 0)
	}
	return buf
}

// finish hands the answer in the slot's buffer to the connection's writer.
func (c *call) finish(lsn storage.LSN, level storage.Level) {
	binary.BigEndian.PutUint32(c.slot.buf, uint32(len(c.slot.buf)-4))
	c.slot.lsn, c.slot.level = lsn, level
	c.conn.answered(c.slot)
}

// services are what the metadata store is given when it is made.
type services struct {
	store    *storage.Store
	settings *meta.Settings
	metrics  *metrics
	logger   *slog.Logger
	now      func() time.Time
}
