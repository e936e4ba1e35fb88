package broker

import (
	"context"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

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
