package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/storage"
)

// keptSessions is how many sessions of one connection watch their partitions. A
// client has one for each connection; whoever makes more pays by looking at all
// partitions again.
const keptSessions = 8

// gather finds what the answer tells, waiting for it if it must.
func (w *answerWriter) gather(f *fetch) error {
	sessions := w.c.b.sessions
	if !f.incremental() {
		if f.session != 0 {
			sessions.remove(f.session) // a full request closes the session that it names
		}
		if err := w.collect(f); err != nil {
			return err
		}
		f.session = 0
		if f.epoch == initialEpoch && f.code == 0 && !f.follower && sessions.room(len(f.partitions)) {
			if s := newFetchSession(f); sessions.add(s) {
				f.session = s.id
			}
		}
		return nil
	}
	s, code := sessions.begin(f.session, f.epoch, f.byID, w.c)
	if code != 0 {
		f.refuse(code)
		return nil
	}
	defer sessions.end(s)
	return w.continueSession(f, s)
}

// refuse answers the request as a whole with an error, and no session.
func (f *fetch) refuse(code int16) {
	f.code, f.session = code, 0
	f.topics, f.partitions, f.lsn = f.topics[:0], f.partitions[:0], 0
}

// incremental says whether the request goes on with a session.
func (f *fetch) incremental() bool {
	return f.code == 0 && f.epoch != initialEpoch && f.epoch != finalEpoch
}

// continueSession answers an incremental request, whose session it has.
func (w *answerWriter) continueSession(f *fetch, s *fetchSession) error {
	sessions := w.c.b.sessions
	s.update(f)
	f.topics, f.partitions, f.lsn = f.topics[:0], f.partitions[:0], 0
	if s.count == 0 {
		sessions.remove(s.id) // as Kafka does: nothing is left to go on with
		f.session = 0
		return nil
	}
	if !sessions.changed(s) {
		f.refuse(kerr.FetchSessionIDNotFound.Code) // the client begins again without one
		return nil
	}
	w.uses(s)
	s.attach()
	if err := w.collectSession(f, s); err != nil {
		return err
	}
	s.settle(f)
	return nil
}

// uses notes a session of this connection. The one that was not used longest
// ends its watching when there are too many.
func (w *answerWriter) uses(s *fetchSession) {
	for i, id := range w.sessions {
		if id == s.id {
			copy(w.sessions[1:i+1], w.sessions[:i])
			w.sessions[0] = id
			return
		}
	}
	if len(w.sessions) == keptSessions {
		w.c.b.sessions.leave(w.sessions[keptSessions-1], w.c)
		w.sessions = w.sessions[:keptSessions-1]
	}
	w.sessions = append(w.sessions, 0)
	copy(w.sessions[1:], w.sessions)
	w.sessions[0] = s.id
}

// leaveSessions is called when the connection closes.
func (w *answerWriter) leaveSessions() {
	for _, id := range w.sessions {
		w.c.b.sessions.leave(id, w.c)
	}
}

// collectSession looks at what changed until there is enough, or an error to
// tell, or the time is up.
func (w *answerWriter) collectSession(f *fetch, s *fetchSession) error {
	total, enough := s.look(w.c.b, f)
	if enough || f.maxWait <= 0 || w.c.b.isStopping() {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.startTimer(f.maxWait)
	defer w.timer.Stop()
	defer s.news.cease()
	for !enough {
		f.release()
		s.news.await(int64(f.minBytes - total))
		over := false
		select {
		case <-s.news.woken:
		case <-w.timer.C:
			over = true
		case <-w.c.b.stopping:
			over = true
		case <-w.c.hurry:
			over = true
		case <-w.c.ctx.Done():
			return w.c.ctx.Err()
		}
		s.news.cease()
		total, enough = s.look(w.c.b, f)
		enough = enough || over
	}
	return nil
}

func (w *answerWriter) startTimer(d time.Duration) {
	if w.timer == nil {
		w.timer = time.NewTimer(d)
	} else {
		w.timer.Reset(d)
	}
}

// look reads the partitions of the queue into f.partitions, in their order, until
// the answer is full; the rest has its turn in the next answer. It returns the
// bytes found, and whether the answer need not wait for more.
func (s *fetchSession) look(b *Broker, f *fetch) (total int, enough bool) {
	s.take()
	s.round++
	f.partitions = f.partitions[:0]
	f.lsn, f.listed = 0, 0
	s.dropGone()
	for _, p := range s.queue {
		if total > 0 && total >= f.maxBytes {
			return total, true
		}
		f.partitions = append(f.partitions, fetchPartition{number: p.number, epoch: p.epoch, offset: p.offset, maxBytes: p.maxBytes})
		r := &f.partitions[len(f.partitions)-1]
		if r.code = s.resolve(b, f, p); r.code == 0 {
			r.log = p.log
			r.code = r.read(f, total)
		}
		total += r.extent.Len()
		enough = enough || r.code != 0 || r.leftOut(f)
	}
	return total, enough || total >= f.minBytes
}

// dropGone takes out of the queue what left the session.
func (s *fetchSession) dropGone() {
	kept := s.queue[:0]
	for _, p := range s.queue {
		if !p.gone {
			kept = append(kept, p)
		}
	}
	clear(s.queue[len(kept):])
	s.queue = kept
}

// leftOut says whether there are records that found no room in the answer.
func (p *fetchPartition) leftOut(f *fetch) bool {
	return p.code == 0 && p.extent.Len() == 0 && p.offset < p.end(f)
}

// settle makes the answer of what look found: partitions with nothing new are
// left out. It also decides which partitions stay in the queue, and where.
func (s *fetchSession) settle(f *fetch) {
	seen := len(f.partitions)
	next := s.spare[:0]
	for i, p := range s.queue[:seen] {
		r := &f.partitions[i]
		switch {
		case r.code != 0 || r.extent.Len() > 0:
			continue // to the end, below
		case r.leftOut(f):
			next = append(next, p)
		default:
			p.queued = false
		}
	}
	next = append(next, s.queue[seen:]...)
	f.topics, f.names = f.topics[:0], f.names[:0]
	told := 0
	for i, p := range s.queue[:seen] {
		r := f.partitions[i]
		if r.code != 0 || r.extent.Len() > 0 {
			next = append(next, p)
		}
		if !p.news(&r) {
			continue
		}
		f.partitions[told] = r
		f.tell(s, p.topic, told)
		told++
	}
	clear(f.partitions[told:])
	f.partitions = f.partitions[:told]
	clear(s.queue)
	s.queue, s.spare = next, s.queue[:0]
}

// news says whether the answer must name the partition, and notes what it tells.
func (p *sessionPartition) news(r *fetchPartition) bool {
	if r.code != 0 {
		p.told = nothingTold // when the error is over, that is news
		return true
	}
	return p.tell(r.marks) || r.extent.Len() > 0
}

// tell puts f.partitions[n] under its topic in the answer. As in Kafka, a topic
// stands there once for each run of its partitions.
func (f *fetch) tell(s *fetchSession, t *sessionTopic, n int) {
	if k := len(f.topics) - 1; k >= 0 && string(f.key(&f.topics[k])) == t.key {
		f.topics[k].parts.to = n + 1
		return
	}
	out := fetchTopic{topic: t.topic, parts: span{n, n + 1}}
	if s.byID {
		copy(out.id[:], t.key)
	} else {
		out.name.from = len(f.names)
		f.names = append(f.names, t.key...)
		out.name.to = len(f.names)
	}
	f.topics = append(f.topics, out)
}

// forgottenPartition leaves a session.
type forgottenPartition struct {
	name   span // of the topic, in fetch.names
	id     [16]byte
	number int32
}

var _ storage.Observer = (*sessionPartition)(nil)
