package group

// The error codes of the protocol that the rules of this package answer.
const (
	none                      int16 = 0
	unknownTopicOrPartition   int16 = 3
	coordinatorNotAvailable   int16 = 15
	offsetMetadataTooLarge    int16 = 12
	illegalGeneration         int16 = 22
	inconsistentGroupProtocol int16 = 23
	invalidGroupID            int16 = 24
	unknownMemberID           int16 = 25
	invalidSessionTimeout     int16 = 26
	rebalanceInProgress       int16 = 27
	invalidCommitOffsetSize   int16 = 28
	unsupportedVersion        int16 = 35
	invalidRequest            int16 = 42
	policyViolation           int16 = 44
	invalidProducerEpoch      int16 = 47
	nonEmptyGroup             int16 = 68
	groupIDNotFound           int16 = 69
	memberIDRequired          int16 = 79
	groupMaxSizeReached       int16 = 81
	fencedInstanceID          int16 = 82
	groupSubscribedToTopic    int16 = 86
	unstableOffsetCommit      int16 = 88
	fencedMemberEpoch         int16 = 110
	unreleasedInstanceID      int16 = 111
	unsupportedAssignor       int16 = 112
	staleMemberEpoch          int16 = 113
	invalidRegularExpression  int16 = 128
	unknownServerError        int16 = -1
)
