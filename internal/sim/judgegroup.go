package sim

func (e Delivered) apply(l *Ledger) {
	l.count(e.Group).Delivered++
	g := l.group(e.Group, e.Partition)
	if _, reads := l.readers[readerOf{e.Reader, e.Partition}]; !reads {
		l.count(e.Group).Started++
		l.checkFloor(e.Group, e.Partition, e.Offset, e.Floor, "a member was started at")
	}
	Read{e.Reader, e.Partition, e.Offset, e.Record}.apply(l)
	l.checkGiven(e.Group, e.Partition, e.Offset, "was given")
	g.given = max(g.given, e.Offset+1)
}

// checkGiven: below an offset that a group has come to lies nothing that was not
// given to some member. Members commit only what they were given before.
func (l *Ledger) checkGiven(group string, p Partition, offset int64, how string) {
	g := l.group(group, p)
	if offset > g.given && !l.forgetful() {
		l.findings.add(GroupSkipped, "group %s, %v: offset %d %s, and no member was given %d to %d", group, p, offset, how, g.given, offset-1)
	}
}

func (e Committed) apply(l *Ledger) {
	l.count(e.Group).Commits++
	l.checkGiven(e.Group, e.Partition, e.Offset, "was committed")
	l.checkOwner(e)
	if _, has := l.holdings[holder{groupOf{e.Group, e.Partition}, e.Member}]; has { // it may have let go since
		e.Owned.apply(l)
	}
	g := l.group(e.Group, e.Partition)
	g.acked, g.some = max(g.acked, e.Offset), true
	for offset, incarnation := range g.unknown {
		// What died with its process before this commit was sent does not come back.
		if incarnation < e.Incarnation && offset < e.Offset {
			delete(g.unknown, offset)
		}
	}
}

// checkOwner: a member that has had a partition since an epoch, when another one
// has been given it in a later epoch, was taken for dead: its commits are refused.
func (l *Ledger) checkOwner(e Committed) {
	tops := l.tops[groupOf{e.Group, e.Partition}]
	if l.forgetful() {
		return // see own
	}
	for i := len(tops) - 1; i >= 0 && tops[i].epoch > e.Epoch; i-- {
		t := tops[i]
		if t.clock <= e.Sent && t.member != e.Member {
			l.findings.add(ZombieCommit, "group %s, %v: %d of %s, owner in epoch %d, was accepted; %s was given it in epoch %d before",
				e.Group, e.Partition, e.Offset, e.Member, e.Epoch, t.member, t.epoch)
			return
		}
	}
}

func (e CommitUnknown) apply(l *Ledger) {
	if e.Refused {
		l.count(e.Group).Refused++
	} else {
		l.count(e.Group).Unanswered++
	}
	l.checkGiven(e.Group, e.Partition, e.Offset, "was to be committed")
	g := l.group(e.Group, e.Partition)
	g.unknown[e.Offset] = max(g.unknown[e.Offset], e.Incarnation)
}

func (e CommitSeen) apply(l *Ledger) {
	l.count(e.Group).Seen++
	l.checkFloor(e.Group, e.Partition, e.Offset, e.Floor, "now it is")
	l.checkGiven(e.Group, e.Partition, e.Offset, "is committed")
}

// checkFloor: the broker knows of a commit at or above what it had acknowledged.
func (l *Ledger) checkFloor(group string, p Partition, offset, floor int64, how string) {
	if floor < 0 || offset >= floor || l.forgetful() {
		return
	}
	if offset < 0 {
		l.findings.add(CommitLost, "group %s, %v: %d was acknowledged, now there is none", group, p, floor)
	} else if _, late := l.group(group, p).unknown[offset]; !late {
		l.findings.add(CommitRegressed, "group %s, %v: %d was acknowledged, %s %d", group, p, floor, how, offset)
	}
}

func (e Owned) apply(l *Ledger) {
	of := groupOf{e.Group, e.Partition}
	k := holder{of, e.Member}
	last, has := l.holdings[k]
	if !has {
		last = e.Epoch - 1
		l.count(e.Group).Owned++
	}
	// It has had the partition in all epochs since it was told last.
	for epoch := last + 1; epoch <= e.Epoch; epoch++ {
		l.own(ownership{of, epoch}, e.Member)
	}
	l.holdings[k] = max(last, e.Epoch)
	tops := l.tops[of]
	if len(tops) == 0 || tops[len(tops)-1].epoch < e.Epoch {
		l.tops[of] = append(tops, top{e.Member, e.Epoch, l.clock})
	}
}

// own: an epoch that was answered is durable in sync mode. In os mode a power cut may
// take it, or the group, and its number is used again.
func (l *Ledger) own(k ownership, member string) {
	old, owned := l.owners[k]
	if owned && old != member && !l.forgetful() {
		l.findings.add(DoubleOwner, "group %s, %v in epoch %d: %s and %s", k.group, k.partition, k.epoch, old, member)
	}
	l.owners[k] = member
}

func (e LetGo) apply(l *Ledger) {
	delete(l.holdings, holder{groupOf{e.Group, e.Partition}, e.Member})
}

func (e Caught) apply(l *Ledger) {
	if e.Committed < e.High {
		l.findings.add(GroupStuck, "group %s, %v: committed %d of %d", e.Group, e.Partition, e.Committed, e.High)
		return
	}
	l.checkGiven(e.Group, e.Partition, e.High, "is the end")
	l.group(e.Group, e.Partition).caught = true
}

// finishDelivery: a group that came to the end was given every acknowledged
// record. With acks=1 an answer may come before the record can be read.
func (l *Ledger) finishDelivery(r Record, f *fate) {
	if f.state != acked || l.writers[r.Writer].Acks != AcksAll || l.forgetful() {
		return
	}
	for k, g := range l.groups {
		if k.partition == f.partition && g.caught && f.offset >= g.given {
			l.findings.add(GroupSkipped, "group %s, %v: %v was acknowledged at %d, and no member was given more than what is below %d", k.group, k.partition, r, f.offset, g.given)
		}
	}
}
