package group

// derived is what follows from a group's epochs, members and subscriptions. It is asked
// for with every heartbeat and every change of a topic, and changes far less often. So it
// is found out once, and whoever changes what it follows from forgets it.
type derived struct {
	stands *standing
	topics map[string]bool // to which members subscribe; nil: not found out
}

// standing is where a group stands.
type standing struct {
	state State
	busy  bool
}

// moved is called when an epoch has changed, or who is a member, or where one stands.
func (cg *consumerGroup) moved() { cg.derived.stands = nil }

// resubscribed is called when a member subscribes to something else, or comes, or goes,
// or when an expression stands for other topics.
func (cg *consumerGroup) resubscribed() { cg.derived.topics = nil }

// standsAt is the state of the group, which follows from its epochs and members.
func (cg *consumerGroup) standsAt() State { return cg.standing().state }

// busy tells whether members have steps to make. Those that have left to come back do
// not count: nobody waits for them.
func (cg *consumerGroup) busy() bool { return cg.standing().busy }

func (cg *consumerGroup) standing() standing {
	if cg.derived.stands == nil {
		s := cg.stand()
		cg.derived.stands = &s
	}
	return *cg.derived.stands
}

func (cg *consumerGroup) stand() standing {
	assigning := cg.epoch > cg.assignmentEpoch
	s := standing{state: Stable, busy: assigning}
	for _, m := range cg.members {
		if !m.reconciled(cg.assignmentEpoch) {
			s.state = Reconciling
			s.busy = s.busy || m.epoch != epochStaticLeave
		}
	}
	switch {
	case len(cg.members) == 0:
		s.state = Empty
	case assigning:
		s.state = Assigning
	}
	return s
}

// subscriptions are the topics to which the group subscribes, whether they exist or not.
// Nobody may change them.
func (cg *consumerGroup) subscriptions() map[string]bool {
	if cg.derived.topics == nil {
		cg.derived.topics = cg.findSubscriptions()
	}
	return cg.derived.topics
}

func (cg *consumerGroup) findSubscriptions() map[string]bool {
	topics := map[string]bool{}
	for _, m := range cg.members {
		for _, name := range m.topics {
			topics[name] = true
		}
	}
	for _, r := range cg.regexes {
		for _, name := range r.topics {
			topics[name] = true
		}
	}
	return topics
}
