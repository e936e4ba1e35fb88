package weir_test

import (
	"net"
	"os"
	"strings"
	"testing"
)

// TestWall runs the applications of this package's tests on another cluster, in
// real time: what stands above the wall knows the protocol, not the broker.
// WEIR_TEST_BROKERS holds its addresses, separated by commas.
func TestWall(t *testing.T) {
	brokers := os.Getenv("WEIR_TEST_BROKERS")
	if brokers == "" {
		t.Skip("WEIR_TEST_BROKERS is not set; it names the cluster to run the applications on")
	}
	for name, scenario := range map[string]func(*cluster){
		"OrderPerPartition":            orderPerPartition,
		"AtLeastOnceOverCrashes":       atLeastOnceOverCrashes,
		"CommitOnlyContiguous":         commitOnlyContiguous,
		"CleanHandOver":                cleanHandOver,
		"SecondMemberTakesItsShare":    secondMemberTakesItsShare,
		"DeadMember":                   deadMember,
		"FencedMember":                 fencedMember,
		"Permanent":                    permanent,
		"AttemptsUsedUp":               attemptsUsedUp,
		"DecodeFailure":                decodeFailure,
		"DeadLetterNotAcked":           deadLetterNotAcked,
		"DeadLetterRefused":            deadLetterRefused,
		"NoDeadLetter":                 noDeadLetter,
		"ProduceAwaited":               produceAwaited,
		"ProduceRefused":               produceRefused,
		"Panic":                        panicIsAFailedAttempt,
		"SlowPartition":                slowPartition,
		"StopDuringBackoff":            stopDuringBackoff,
		"DrainTimeout":                 drainTimeout,
		"StopFinishesTheRecordInHand":  stopFinishesTheRecordInHand,
		"ReturnedPartitionWaits":       returnedPartitionWaits,
		"StopWithoutBroker":            stopWithoutBroker,
		"InFlightBounded":              inFlightBounded,
		"TopicMadeLater":               topicMadeLater,
		"Goexit":                       goexit,
		"TopicDeleted":                 topicDeleted,
		"TopicMadeAnew":                topicMadeAnew,
		"TopicMadeAnewAtOnce":          topicMadeAnewAtOnce,
		"TopicMadeAnewByName":          topicMadeAnewByName,
		"DeadLetterTooLarge":           deadLetterTooLarge,
		"DeadLetterOfTheLargestRecord": deadLetterOfTheLargestRecord,
		"OneDeadLetterForTwoReasons":   oneDeadLetterForTwoReasons,
		"RefusedWhileHandedOver":       refusedWhileHandedOver,
		"StaticMemberReturns":          staticMemberReturns,
		"StaticMemberTwice":            staticMemberTwice,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d net.Dialer
			scenario(&cluster{t: t, brokers: strings.Split(brokers, ","), dial: d.DialContext, id: runID()})
		})
	}
}
