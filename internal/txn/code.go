package txn

// The error codes of the protocol that the rules of this package answer.
const (
	none                      int16 = 0
	invalidRequest            int16 = 42
	policyViolation           int16 = 44
	invalidTxnState           int16 = 48
	invalidProducerIDMapping  int16 = 49
	invalidTransactionTimeout int16 = 50
	producerFenced            int16 = 90
	transactionalIDNotFound   int16 = 105
	transactionAbortable      int16 = 120
)
