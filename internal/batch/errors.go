package batch

import "errors"

// The reasons why bytes are refused, one for each of Kafka's error codes that
// the broker answers with. Errors of this package wrap exactly one of them.
var (
	// ErrCorrupt: CORRUPT_MESSAGE. The checksum does not fit, the magic is none
	// of Kafka's, the length field is impossible, or there are fewer bytes than
	// a header has.
	ErrCorrupt = errors.New("corrupt record batch")
	// ErrInvalidRecord: INVALID_RECORD. The bytes arrived as they were sent but
	// break a rule of the format: counts, deltas, sequences, control bit, not
	// exactly one batch, or records that do not fit their lengths.
	ErrInvalidRecord = errors.New("invalid record batch")
	// ErrTruncated: the header is good but the batch is longer than the bytes
	// given. On disk that is a torn end; Validate turns it into ErrInvalidRecord.
	ErrTruncated = errors.New("truncated record batch")
	// ErrTooLarge: MESSAGE_TOO_LARGE. The batch, or what it decompresses to, is
	// larger than the limit.
	ErrTooLarge = errors.New("record batch too large")
	// ErrTimestamp: INVALID_TIMESTAMP.
	ErrTimestamp = errors.New("timestamp out of range")
	// ErrUnsupportedCompression: UNSUPPORTED_COMPRESSION_TYPE. The codec is
	// zstd and the producer's version of Produce is older than it (KIP-110).
	ErrUnsupportedCompression = errors.New("compression not supported")
	// ErrCodec: Kafka answers UNKNOWN_SERVER_ERROR. The codec has no meaning.
	ErrCodec = errors.New("unknown compression codec")
	// ErrDecompress: Kafka answers UNKNOWN_SERVER_ERROR. The records are not
	// what their codec says.
	ErrDecompress = errors.New("records cannot be decompressed")
)
