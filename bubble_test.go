package weir_test

import (
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/broker/brokertest"
)

// inBubble runs a scenario on an own broker in memory, on virtual time.
func inBubble(t *testing.T, scenario func(*cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		scenario(&cluster{t: t, brokers: []string{brokertest.Address}, dial: b.DialContext, id: "t", broker: b})
	})
}

func TestOrderPerPartition(t *testing.T)           { inBubble(t, orderPerPartition) }
func TestAtLeastOnceOverCrashes(t *testing.T)      { inBubble(t, atLeastOnceOverCrashes) }
func TestCommitOnlyContiguous(t *testing.T)        { inBubble(t, commitOnlyContiguous) }
func TestCleanHandOver(t *testing.T)               { inBubble(t, cleanHandOver) }
func TestSecondMemberTakesItsShare(t *testing.T)   { inBubble(t, secondMemberTakesItsShare) }
func TestDeadMember(t *testing.T)                  { inBubble(t, deadMember) }
func TestFencedMember(t *testing.T)                { inBubble(t, fencedMember) }
func TestPermanent(t *testing.T)                   { inBubble(t, permanent) }
func TestAttemptsUsedUp(t *testing.T)              { inBubble(t, attemptsUsedUp) }
func TestDecodeFailure(t *testing.T)               { inBubble(t, decodeFailure) }
func TestDeadLetterNotAcked(t *testing.T)          { inBubble(t, deadLetterNotAcked) }
func TestDeadLetterRefused(t *testing.T)           { inBubble(t, deadLetterRefused) }
func TestNoDeadLetter(t *testing.T)                { inBubble(t, noDeadLetter) }
func TestProduceAwaited(t *testing.T)              { inBubble(t, produceAwaited) }
func TestProduceRefused(t *testing.T)              { inBubble(t, produceRefused) }
func TestPanic(t *testing.T)                       { inBubble(t, panicIsAFailedAttempt) }
func TestSlowPartition(t *testing.T)               { inBubble(t, slowPartition) }
func TestStopDuringBackoff(t *testing.T)           { inBubble(t, stopDuringBackoff) }
func TestHandlerThatDoesNotReturn(t *testing.T)    { inBubble(t, handlerThatDoesNotReturn) }
func TestDrainTimeout(t *testing.T)                { inBubble(t, drainTimeout) }
func TestStopFinishesTheRecordInHand(t *testing.T) { inBubble(t, stopFinishesTheRecordInHand) }
func TestReturnedPartitionWaits(t *testing.T)      { inBubble(t, returnedPartitionWaits) }
func TestStopWithoutBroker(t *testing.T)           { inBubble(t, stopWithoutBroker) }
func TestTopicMadeLater(t *testing.T)              { inBubble(t, topicMadeLater) }
func TestUnreachable(t *testing.T)                 { inBubble(t, unreachable) }
func TestGoexit(t *testing.T)                      { inBubble(t, goexit) }
func TestInFlightBounded(t *testing.T)             { inBubble(t, inFlightBounded) }
func TestQueuedBytesBounded(t *testing.T)          { inBubble(t, queuedBytesBounded) }
func TestTopicDeleted(t *testing.T)                { inBubble(t, topicDeleted) }
func TestTopicMadeAnew(t *testing.T)               { inBubble(t, topicMadeAnew) }
func TestTopicMadeAnewAtOnce(t *testing.T)         { inBubble(t, topicMadeAnewAtOnce) }
func TestTopicMadeAnewByName(t *testing.T)         { inBubble(t, topicMadeAnewByName) }
func TestDeadLetterTooLarge(t *testing.T)          { inBubble(t, deadLetterTooLarge) }
func TestDeadLetterOfTheLargestRecord(t *testing.T) {
	inBubble(t, deadLetterOfTheLargestRecord)
}
func TestOneDeadLetterForTwoReasons(t *testing.T) { inBubble(t, oneDeadLetterForTwoReasons) }
func TestRefusedWhileHandedOver(t *testing.T)     { inBubble(t, refusedWhileHandedOver) }
func TestGroupRefuses(t *testing.T)               { inBubble(t, groupRefuses) }
func TestStopWithFullDisk(t *testing.T)           { inBubble(t, stopWithFullDisk) }
func TestStaticMemberReturns(t *testing.T)        { inBubble(t, staticMemberReturns) }
func TestStaticMemberTwice(t *testing.T)          { inBubble(t, staticMemberTwice) }
