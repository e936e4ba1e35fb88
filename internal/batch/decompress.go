package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// zstdWindow is the largest window, in bytes, that a zstd frame may demand: the
// decoder reserves it before the content arrives. RFC 8878 asks every decoder
// for at least this much; only levels above 19 go beyond it.
const zstdWindow = 8 << 20

// lz4Magic begins every LZ4 frame. The library also reads a legacy format,
// which Kafka never had.
var lz4Magic = []byte{0x04, 0x22, 0x4d, 0x18}

// xerialMagic begins the framing of snappy that Java clients write.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

// xerialHeader is the magic and two versions of four bytes each.
const xerialHeader = 16

// decompress returns the records that payload holds. The result grows with the
// bytes that come out and never beyond limit; more is ErrTooLarge.
func decompress(codec Codec, payload []byte, limit int64) ([]byte, error) {
	var out []byte
	var err error
	switch codec {
	case Gzip:
		out, err = gunzip(payload, limit)
	case Snappy:
		out, err = unsnappy(payload, limit)
	case LZ4:
		if !bytes.HasPrefix(payload, lz4Magic) {
			return nil, fmt.Errorf("%w: lz4: no frame", ErrDecompress)
		}
		out, err = readAll(lz4.NewReader(bytes.NewReader(payload)), limit)
	case Zstd:
		out, err = unzstd(payload, limit)
	default:
		return nil, fmt.Errorf("%w: %d", ErrCodec, codec)
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %v: %w", ErrDecompress, codec, err)
	}
	return out, nil
}

func errLimit(limit int64) error {
	return fmt.Errorf("%w: the records decompress to more than %d bytes", ErrTooLarge, limit)
}

// readAll reads r to its end or one byte past limit.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, limit+1))
	if int64(len(out)) > limit {
		return nil, errLimit(limit)
	}
	return out, err
}

func gunzip(payload []byte, limit int64) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	return readAll(r, limit)
}

func unzstd(payload []byte, limit int64) ([]byte, error) {
	r, err := zstd.NewReader(bytes.NewReader(payload),
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readAll(r, limit)
}

// unsnappy reads both forms in use: one raw block, and xerial's framing, which
// is a header and blocks with a length of four bytes before each.
func unsnappy(payload []byte, limit int64) ([]byte, error) {
	if !bytes.HasPrefix(payload, xerialMagic) || len(payload) < xerialHeader {
		return appendSnappy(nil, payload, limit)
	}
	var out []byte
	for payload = payload[xerialHeader:]; len(payload) > 0; {
		if len(payload) < 4 {
			return nil, errors.New("xerial chunk without length")
		}
		n := int64(binary.BigEndian.Uint32(payload))
		payload = payload[4:]
		if n > int64(len(payload)) {
			return nil, fmt.Errorf("xerial chunk of %d bytes in %d", n, len(payload))
		}
		var err error
		if out, err = appendSnappy(out, payload[:n], limit); err != nil {
			return nil, err
		}
		payload = payload[n:]
	}
	return out, nil
}

// snappyRatio is more than a snappy block can expand: its densest element
// turns three bytes into 64.
const snappyRatio = 22

// appendSnappy decodes one block behind out. The block begins with its decoded
// length, which is believed only as far as the block's own bytes can carry it.
func appendSnappy(out, block []byte, limit int64) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	if int64(n) > int64(len(block))*snappyRatio {
		return nil, fmt.Errorf("block of %d bytes cannot hold the %d it announces", len(block), n)
	}
	if int64(len(out))+int64(n) > limit {
		return nil, errLimit(limit)
	}
	part, err := snappy.DecodeStrict(nil, block)
	if err != nil {
		return nil, err
	}
	if out == nil {
		return part, nil
	}
	return append(out, part...), nil
}
