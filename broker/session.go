package broker

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/storage"
)

// fetchSession is an incremental fetch session (KIP-227): the partitions that a
// client fetches, so that its requests name only what changes and its answers
// only what is new.
//
// A request costs what changed, not what is watched. Every partition is either in
// queue, or it had nothing to tell when it was last looked at and is registered
// with storage, which puts it on news when that changes:
//
//	request: new, moved ──┐            ┌── records, an error: to the end
//	                      ├──▶ queue ──┼── records, but no room left: stays in front
//	storage: news ────────┘            └── nothing more: leaves
//
// The order of the queue makes room go round: when the limits of an answer cut it
// off, the next one begins where it ended.
//
// One request at a time has the session (sessionCache.begin to end) and with it
// all fields but those of the cache and of news.
type fetchSession struct {
	// Guarded by sessionCache.mu.
	id            int32
	epoch         int32 // that the next request must have
	created, used time.Time
	size          int // partitions
	charged       int // bytes
	busy          bool
	user          *conn // whose request it served last

	byID      bool // topics are named by their ids
	topics    map[string]*sessionTopic
	count     int // partitions
	names     int // bytes of the topics' keys
	queue     []*sessionPartition
	spare     []*sessionPartition // for the next queue
	round     int                 // number of the look at the partitions
	committed bool
	attached  bool // partitions are registered with storage
	news      sessionNews
}

// sessionTopic is a topic of a session, by name or id; the topic of that name may
// come, go, and become another.
type sessionTopic struct {
	key   string // name, or the 16 bytes of the id
	topic *topic // nil if there is none
	round int    // when that was found out
	parts map[int32]*sessionPartition
}

// sessionPartition is a partition of a session.
type sessionPartition struct {
	session  *fetchSession
	topic    *sessionTopic
	log      *storage.Partition // nil if there is none
	watcher  *storage.Watcher   // registered with log while the session is attached
	offset   int64
	told     storage.Offsets // marks in the last answer; -1: none, or an error
	number   int32
	epoch    int32
	maxBytes int32
	gone     bool // left the session
	queued   bool // stands in session.queue
	listed   bool // stands in session.news; guarded by its lock
}

// tell notes the marks of an answer and says whether they are new.
func (p *sessionPartition) tell(marks storage.Offsets) bool {
	marks.End = -1 // is not told
	changed := p.told != marks
	p.told = marks
	return changed
}

// nothingTold makes a partition's next look an answer.
var nothingTold = storage.Offsets{Start: -1, Stable: -1, High: -1, End: -1}

// sessionNews are the partitions that storage told of. Partitions' locks come
// before its lock.
type sessionNews struct {
	woken chan struct{} // has a token when a wait is over
	mu    struct {
		sync.Mutex
		list []*sessionPartition
		got  int64 // bytes that became readable since list was taken
		want int64 // bytes that end the wait; 0: nobody waits
	}
}

// newFetchSession makes a session of the partitions of a full request.
func newFetchSession(f *fetch) *fetchSession {
	s := &fetchSession{byID: f.byID, topics: map[string]*sessionTopic{}, committed: f.committed}
	s.news.woken = make(chan struct{}, 1)
	s.update(f)
	// The answer to this request tells of all; what changes from now on is found
	// by comparing.
	for i := range f.topics {
		t := s.topics[string(f.key(&f.topics[i]))]
		for k := f.topics[i].parts.from; k < f.topics[i].parts.to; k++ {
			if p := &f.partitions[k]; p.code == 0 {
				t.parts[p.number].tell(p.marks)
			}
		}
	}
	return s
}

// cost is about how much memory the session takes.
func (s *fetchSession) cost() int {
	const base, perTopic, perPartition = 512, 200, 320
	return base + s.names + len(s.topics)*perTopic + s.count*perPartition
}

// key is what names a topic of a request: its name or its id.
func (f *fetch) key(t *fetchTopic) []byte {
	if f.byID {
		return t.id[:]
	}
	return f.names[t.name.from:t.name.to]
}

// update takes in the partitions that a request names, and lets go those that it
// forgets.
func (s *fetchSession) update(f *fetch) {
	for i := range f.topics {
		for k := f.topics[i].parts.from; k < f.topics[i].parts.to; k++ {
			s.set(s.topic(f.key(&f.topics[i])), &f.partitions[k])
		}
	}
	for i := range f.forgotten {
		g := &f.forgotten[i]
		key := g.id[:]
		if !f.byID {
			key = f.names[g.name.from:g.name.to]
		}
		s.forget(key, g.number)
	}
	if s.committed != f.committed {
		s.detach() // another end counts for all; attach has all looked at
		s.committed = f.committed
	}
}

func (s *fetchSession) topic(key []byte) *sessionTopic {
	t := s.topics[string(key)]
	if t == nil {
		t = &sessionTopic{key: string(key), round: -1, parts: map[int32]*sessionPartition{}}
		s.topics[t.key] = t
		s.names += len(key)
	}
	return t
}

func (s *fetchSession) set(t *sessionTopic, asked *fetchPartition) {
	p := t.parts[asked.number]
	if p == nil {
		p = &sessionPartition{session: s, topic: t, number: asked.number, told: nothingTold}
		t.parts[asked.number] = p
		s.count++
	}
	p.epoch, p.offset, p.maxBytes = asked.epoch, asked.offset, asked.maxBytes
	s.enqueue(p)
}

func (s *fetchSession) forget(key []byte, number int32) {
	t := s.topics[string(key)]
	if t == nil {
		return
	}
	p := t.parts[number]
	if p == nil {
		return
	}
	p.gone = true
	p.watch(nil)
	delete(t.parts, number)
	s.count--
	if len(t.parts) == 0 {
		delete(s.topics, t.key)
		s.names -= len(t.key)
	}
}

func (s *fetchSession) enqueue(p *sessionPartition) {
	if !p.queued && !p.gone {
		p.queued = true
		s.queue = append(s.queue, p)
	}
}

func (s *fetchSession) queueAll() {
	for _, t := range s.topics {
		for _, p := range t.parts {
			s.enqueue(p)
		}
	}
}

// attach registers all partitions with storage. It has all looked at, since what
// changed before is not told.
func (s *fetchSession) attach() {
	if s.attached {
		return
	}
	s.attached = true
	for _, t := range s.topics {
		for _, p := range t.parts {
			if p.log != nil && p.watcher != nil {
				p.observe()
			}
		}
	}
	s.queueAll()
}

// detach ends the registrations, so that a session that nobody uses costs nothing
// but memory.
func (s *fetchSession) detach() {
	if !s.attached {
		return
	}
	for _, t := range s.topics {
		for _, p := range t.parts {
			if p.log != nil && p.watcher != nil {
				p.log.Unwatch(p.watcher)
			}
		}
	}
	s.attached = false
}

// watch makes log the partition that is read and, while the session is attached,
// watched.
func (p *sessionPartition) watch(log *storage.Partition) {
	if p.log == log {
		return
	}
	if p.log != nil && p.session.attached {
		p.log.Unwatch(p.watcher)
	}
	p.log = log
	if log == nil {
		return
	}
	if p.watcher == nil {
		p.watcher = storage.NewObserver(p)
	}
	if p.session.attached {
		p.observe()
	}
}

// observe registers the partition for what the session may read.
func (p *sessionPartition) observe() {
	if p.session.committed {
		p.log.ObserveStable(p.watcher)
	} else {
		p.log.Observe(p.watcher)
	}
}

// Readable is called by storage.
func (p *sessionPartition) Readable(bytes int64) { p.session.news.add(p, bytes) }

// Changed is called by storage.
func (p *sessionPartition) Changed() { p.session.news.add(p, changedBytes) }

// changedBytes end any wait: there is something to look at.
const changedBytes = 1 << 40

func (n *sessionNews) add(p *sessionPartition, bytes int64) {
	n.mu.Lock()
	if !p.listed {
		p.listed = true
		n.mu.list = append(n.mu.list, p)
	}
	n.mu.got += bytes
	if n.mu.want > 0 && n.mu.got >= n.mu.want {
		n.wake()
	}
	n.mu.Unlock()
}

// wake ends the wait; mu is held.
func (n *sessionNews) wake() {
	n.mu.want = 0
	select {
	case n.woken <- struct{}{}:
	default: // it has its token
	}
}

// take puts the partitions that storage told of into the queue.
func (s *fetchSession) take() {
	n := &s.news
	n.mu.Lock()
	for i, p := range n.mu.list {
		p.listed = false
		s.enqueue(p)
		n.mu.list[i] = nil
	}
	n.mu.list, n.mu.got = n.mu.list[:0], 0
	if cap(n.mu.list) > keptPartitions {
		n.mu.list = nil
	}
	n.mu.Unlock()
}

// await asks for a token when so many bytes have become readable since take.
func (n *sessionNews) await(bytes int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.got >= bytes {
		n.wake()
		return
	}
	n.mu.want = bytes
}

// cease ends the wait; a token that came is taken.
func (n *sessionNews) cease() {
	n.mu.Lock()
	n.mu.want = 0
	n.mu.Unlock()
	select {
	case <-n.woken:
	default:
	}
}

// resolve finds the partition's log as the topic of its name or id is now, and
// returns the error code if there is none. Topics are asked for once a round.
func (s *fetchSession) resolve(b *Broker, f *fetch, p *sessionPartition) int16 {
	t := p.topic
	if t.round != s.round {
		t.round = s.round
		if s.byID {
			t.topic = b.metadata.topicByID([16]byte([]byte(t.key)))
		} else {
			t.topic = b.metadata.topic(t.key)
		}
	}
	var log *storage.Partition
	if t.topic != nil {
		log = t.topic.partition(p.number)
	}
	p.watch(log)
	switch {
	case log != nil:
		return 0
	case t.topic == nil && s.byID:
		f.lsn = b.metadata.lsn()
		return kerr.UnknownTopicID.Code
	}
	f.lsn = b.metadata.lsn()
	return kerr.UnknownTopicOrPartition.Code
}
