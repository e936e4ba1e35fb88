package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// xerialBlock is how much one block of xerial's framing holds, as Java clients
// write it.
const xerialBlock = 32 << 10

// zstdWriteWindow bounds the encoder's memory; every decoder has to take it.
const zstdWriteWindow = 1 << 20

// compressor compresses records. It keeps its encoders, which are expensive to
// make, and is for one goroutine.
type compressor struct {
	gzip *gzip.Writer
	lz4  *lz4.Writer
	zstd *zstd.Encoder
}

// append compresses records behind dst. model is the payload that the records
// were compressed in before: snappy has two forms, and its reader knew that one.
func (c *compressor) append(dst []byte, codec Codec, records, model []byte) ([]byte, error) {
	switch codec {
	case None:
		return append(dst, records...), nil
	case Gzip:
		if c.gzip == nil {
			c.gzip = gzip.NewWriter(io.Discard)
		}
		out := bytes.NewBuffer(dst)
		c.gzip.Reset(out)
		return finish(out, c.gzip, records)
	case Snappy:
		if bytes.HasPrefix(model, xerialMagic) && len(model) >= xerialHeader {
			return appendXerial(append(dst, model[:xerialHeader]...), records), nil
		}
		return append(dst, snappy.Encode(nil, records)...), nil
	case LZ4:
		out := bytes.NewBuffer(dst)
		if c.lz4 == nil {
			c.lz4 = lz4.NewWriter(out)
			// Kafka's readers know blocks that do not depend on one another, and its
			// writers make them of 64 KiB.
			if err := c.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ConcurrencyOption(1)); err != nil {
				return nil, fmt.Errorf("lz4: %w", err)
			}
		}
		c.lz4.Reset(out)
		return finish(out, c.lz4, records)
	case Zstd:
		if c.zstd == nil {
			var err error
			c.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWriteWindow))
			if err != nil {
				return nil, fmt.Errorf("zstd: %w", err)
			}
		}
		return c.zstd.EncodeAll(records, dst), nil
	}
	return nil, fmt.Errorf("%w: %d", ErrCodec, codec)
}

func finish(out *bytes.Buffer, w io.WriteCloser, records []byte) ([]byte, error) {
	if _, err := w.Write(records); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func appendXerial(dst, records []byte) []byte {
	for len(records) > 0 {
		n := min(len(records), xerialBlock)
		block := snappy.Encode(nil, records[:n])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
		dst = append(dst, block...)
		records = records[n:]
	}
	return dst
}
