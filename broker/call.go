package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/storage"
)

// call is one request being served. A handler answers it exactly once, at once
// or later, from any goroutine, with reply; the connection writes the answers
// in the order of the requests.
type call struct {
	ctx      context.Context // ends when the connection closes or the broker stops
	key      int16
	version  int16
	clientID string
	host     string // the client's address as Kafka prints it: "/127.0.0.1"
}

// reply answers the call once lsn is durable; 0 waits for nothing.
func (c *call) reply(resp kmsg.Response, lsn storage.LSN) { panic("skeleton") }
