package broker

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// kafkaError is an error with Kafka's code and a message for the client.
type kafkaError struct {
	code    int16
	message string
}

func (e *kafkaError) Error() string { return e.message }

// refuse makes a kafkaError with one of kerr's codes.
func refuse(e *kerr.Error, message string) error { return &kafkaError{e.Code, message} }

// codes maps what other packages refuse with to Kafka's codes.
var codes = []struct {
	err  error
	code int16
}{
	{batch.ErrInvalidRecord, kerr.InvalidRecord.Code},
	{batch.ErrCorrupt, kerr.CorruptMessage.Code},
	{batch.ErrTooLarge, kerr.MessageTooLarge.Code},
	{batch.ErrTimestamp, kerr.InvalidTimestamp.Code},
	{batch.ErrUnsupportedCompression, kerr.UnsupportedCompressionType.Code},
	{batch.ErrCodec, kerr.UnknownServerError.Code},
	{batch.ErrDecompress, kerr.UnknownServerError.Code},
	{storage.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber.Code},
	{storage.ErrProducerFenced, kerr.InvalidProducerEpoch.Code},
	{storage.ErrInvalidTxnState, kerr.InvalidTxnState.Code},
	{storage.ErrCoordinatorFenced, kerr.TransactionCoordinatorFenced.Code},
	{storage.ErrNoSpace, kerr.KafkaStorageError.Code},
	{storage.ErrNoDescriptor, kerr.KafkaStorageError.Code},
	{storage.ErrHeld, kerr.KafkaStorageError.Code},
	{storage.ErrStorage, kerr.KafkaStorageError.Code},
	{storage.ErrOffsetOutOfRange, kerr.OffsetOutOfRange.Code},
	{storage.ErrDeleted, kerr.UnknownTopicOrPartition.Code},
	// The broker is stopping: the client looks for the leader again.
	{storage.ErrClosed, kerr.NotLeaderForPartition.Code},
	{errExists, kerr.TopicAlreadyExists.Code},
	{errNoTopic, kerr.UnknownTopicOrPartition.Code},
	{errTooManyPartitions, kerr.PolicyViolation.Code},
	{errTooManyConfigured, kerr.PolicyViolation.Code},
	{meta.ErrInvalidTopic, kerr.InvalidTopicException.Code},
	{meta.ErrInvalidConfig, kerr.InvalidConfig.Code},
}

// codeOf is the error code that a client is told. What nothing says more of is
// UNKNOWN_SERVER_ERROR.
func codeOf(err error) int16 {
	if err == nil {
		return 0
	}
	var k *kafkaError
	if errors.As(err, &k) {
		return k.code
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return kerr.UnknownServerError.Code
}
