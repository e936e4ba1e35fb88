package broker

import (
	"context"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// InitProducerId, key 22, v0–5, without a transactional id.
//
//	v2   flexible
//	v3   producer id and epoch, to go on from (KIP-360)
//	v5   nothing new without transactions (KIP-890)
//
// Every request gets a new id with epoch 0, as in Kafka. Deviation: transactions
// are not served yet. A transactional id gets UNSUPPORTED_VERSION, which no
// client retries; Kafka has no code that says it better.

func (b *Broker) initProducerID(c *call, req *kmsg.InitProducerIDRequest) {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if code := b.checkTransactional(c, req); code != 0 {
		resp.ErrorCode = code
		c.reply(resp, 0)
		return
	}
	id, lsn, err := b.producers.next(c.ctx)
	if err != nil {
		resp.ErrorCode = codeOf(err)
		c.reply(resp, 0)
		return
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	c.reply(resp, lsn)
}

// maxTransactionMillis is Kafka's transaction.max.timeout.ms.
const maxTransactionMillis = 900_000

func (b *Broker) checkTransactional(c *call, req *kmsg.InitProducerIDRequest) int16 {
	id := req.TransactionalID
	switch {
	case id == nil:
		return 0
	case *id == "":
		return kerr.InvalidRequest.Code
	case req.TransactionTimeoutMillis <= 0 || req.TransactionTimeoutMillis > maxTransactionMillis:
		return kerr.InvalidTransactionTimeout.Code
	}
	b.logger.Warn("a client asks for transactions, which are not served yet", "client", c.clientID, "host", c.host, "transactional_id", *id)
	return kerr.UnsupportedVersion.Code
}

// producerIDBlock is how many ids one record in the metadata log reserves. What
// is left of a block is lost at a restart.
const producerIDBlock = 1000

// producerIDs gives out producer ids. A block is reserved in the metadata log;
// an id is told only when its block's record is durable.
type producerIDs struct {
	metadata *metadata
	// The rest is guarded by the metadata store's token.
	nextID, end int64
	lsn         storage.LSN // of the block's record
}

func (p *producerIDs) next(ctx context.Context) (int64, storage.LSN, error) {
	m := p.metadata
	if err := m.begin(ctx); err != nil {
		return 0, 0, err
	}
	defer m.finish()
	if p.nextID == p.end {
		first := m.image().NextProducerID()
		if first > math.MaxInt64-producerIDBlock {
			return 0, 0, refuse(kerr.UnknownServerError, "no producer ids are left")
		}
		img, lsn, err := m.change(ctx, nil, meta.ProducerIDsRecord{Next: first + producerIDBlock})
		if err != nil {
			return 0, 0, err
		}
		m.current.Store(img)
		p.nextID, p.end, p.lsn = first, first+producerIDBlock, lsn
	}
	id := p.nextID
	p.nextID++
	return id, p.lsn, nil
}
