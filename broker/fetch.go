package broker

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/storage"
)

// fetch is one Fetch request. The connection's reader takes it apart; its writer
// waits for records and writes them from the files.
type fetch struct {
	version    int16
	flexible   bool
	byID       bool // topics are named by their ids
	code       int16
	maxWait    time.Duration
	minBytes   int
	maxBytes   int
	committed  bool // isolation level read_committed
	listed     int  // aborted transactions in the answer
	writer     *answerWriter
	follower   bool // somebody poses as a follower; there are none
	session    int32
	epoch      int32 // of the session
	charged    int64 // what counts in conn.pending
	forgotten  []forgottenPartition
	topics     []fetchTopic
	partitions []fetchPartition
	names      []byte      // of all topics, one after another
	lsn        storage.LSN // of the metadata that a topic is missing in
}

// fetchTopic is a topic of a request and its run in fetch.partitions.
type fetchTopic struct {
	name  span // in fetch.names
	id    [16]byte
	topic *topic
	parts span
}

type span struct{ from, to int }

// fetchPartition is a partition of a request, and then of the answer.
type fetchPartition struct {
	number   int32
	epoch    int32
	offset   int64
	maxBytes int32
	log      *storage.Partition // nil if there is none

	code    int16
	marks   storage.Offsets
	extent  storage.Extent
	aborted []storage.AbortedTxn // that have records in extent; only for read_committed
}

const (
	// maxFetchBytes bounds what one answer holds, whatever the client asks for.
	maxFetchBytes = 64 << 20
	// maxAborted bounds the aborted transactions that one answer lists, 256 KiB, beyond
	// those of a single batch. More than fewAborted, 16 KiB, count as a large buffer of
	// the connection, of which there are manyChunks.
	maxAborted, fewAborted = 8192, 512
	// keptPartitions is the largest list that a recycled fetch keeps.
	keptPartitions = 1024
)

var fetches = sync.Pool{New: func() any { return new(fetch) }}

func (f *fetch) recycle() {
	if max(cap(f.partitions), cap(f.topics), cap(f.forgotten)) > keptPartitions || cap(f.names) > 64*keptPartitions {
		return
	}
	clear(f.partitions)
	clear(f.topics)
	*f = fetch{topics: f.topics[:0], partitions: f.partitions[:0], forgotten: f.forgotten[:0], names: f.names[:0]}
	fetches.Put(f)
}

// cost is about how much memory the request takes until it is answered.
func (f *fetch) cost() int64 {
	const perPartition, perTopic, perForgotten = 160, 80, 40
	return int64(len(f.partitions)*perPartition + len(f.topics)*perTopic + len(f.forgotten)*perForgotten + len(f.names))
}

// serveFetch answers a Fetch. What it takes counts in conn.pending meanwhile.
func (w *answerWriter) serveFetch(s *slot) error {
	f := s.fetch
	f.writer = w
	err := w.gather(f)
	if err == nil && f.lsn > 0 {
		err = w.c.b.store.Wait(w.c.ctx, f.lsn, storage.Durable)
	}
	if err == nil {
		if err = w.render(s); err == nil {
			f.count(w.c.b.metrics)
		}
	}
	f.release()
	w.outDone += f.charged
	if len(w.out) == 0 {
		w.wrote()
	}
	s.fetch = nil
	f.recycle()
	return err
}

// collect reads until there is enough, or an error to tell, or the time is up.
func (w *answerWriter) collect(f *fetch) error {
	enough, err := f.read()
	if enough || err != nil || f.maxWait <= 0 || w.c.b.isStopping() {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.startTimer(f.maxWait)
	defer w.timer.Stop()
	f.release()
	if err := w.sleep(f); err != nil {
		return err
	}
	// Whatever there is now is the answer. To wait again for the rest could spin:
	// the watcher counts all that is readable, the answer has limits per partition.
	_, err = f.read()
	return err
}

// sleep waits until the wanted bytes are readable, a topic is deleted, or the time
// is up.
func (w *answerWriter) sleep(f *fetch) error {
	watcher := storage.NewWatcher(f.minBytes)
	for i := range f.partitions {
		if p := &f.partitions[i]; p.log != nil {
			if f.committed {
				p.log.WatchStable(watcher, p.offset)
			} else {
				p.log.Watch(watcher, p.offset)
			}
			defer p.log.Unwatch(watcher)
		}
	}
	select {
	case <-watcher.C:
	case <-w.timer.C:
	case <-w.c.b.stopping:
	case <-w.c.hurry:
	case <-w.c.ctx.Done():
		return w.c.ctx.Err()
	}
	return nil
}

// read finds the records of all partitions, in the request's order. It says that
// there is enough when the wanted bytes are there or a partition has an error.
func (f *fetch) read() (enough bool, err error) {
	if f.code != 0 || len(f.partitions) == 0 {
		return true, nil
	}
	total, failed := 0, false
	f.listed = 0
	for i := range f.partitions {
		p := &f.partitions[i]
		if p.log == nil {
			failed = true
			continue
		}
		p.code = p.read(f, total)
		failed = failed || p.code != 0
		total += p.extent.Len()
	}
	return failed || total >= f.minBytes, nil
}

// read finds one partition's records, when total bytes were found before it.
func (p *fetchPartition) read(f *fetch, total int) int16 {
	p.marks = p.log.Offsets()
	if code := p.checkEpoch(); code != 0 {
		return code
	}
	end := p.end(f)
	switch {
	case p.offset < p.marks.Start || p.offset > p.marks.End:
		return kerr.OffsetOutOfRange.Code
	case p.maxBytes < 0:
		return kerr.UnknownServerError.Code
	case p.offset >= end:
		// Nothing to read, but the read tells of a topic that was deleted.
		_, err := p.log.Read(p.offset, 0, end)
		if err == nil || errors.Is(err, storage.ErrOffsetOutOfRange) {
			return 0 // the offset may lie between what is durable and the end
		}
		return p.failed(f, err)
	}
	room := min(int(p.maxBytes), f.maxBytes-total)
	// The first batch of the answer comes whatever its size (KIP-74).
	if total > 0 && room <= 0 {
		return 0
	}
	extent, err := p.log.Read(p.offset, max(room, 0), end)
	if err != nil {
		return p.failed(f, err)
	}
	if total > 0 && extent.Len() > room {
		extent.Release()
		return 0
	}
	if f.committed && extent.Len() > 0 {
		if extent, err = p.listAborted(f, extent, total == 0); err != nil {
			return p.failed(f, err)
		}
	}
	p.extent = extent
	return 0
}

// mayListMany claims the memory of a long list.
func (f *fetch) mayListMany() bool { return f.writer == nil || f.writer.claimChunk() }

// listAborted finds the aborted transactions that have records in an extent, which it
// makes shorter while there are too many for one answer; the first batch of an answer
// comes whatever there is to say of it. On an error the extent is released.
func (p *fetchPartition) listAborted(f *fetch, extent storage.Extent, first bool) (storage.Extent, error) {
	for {
		list, err := p.log.Aborted(p.offset, extent.Next())
		if err != nil {
			extent.Release()
			return storage.Extent{}, err
		}
		if n := f.listed + len(list); n <= fewAborted || n <= maxAborted && f.mayListMany() {
			p.aborted = list
			f.listed += len(list)
			return extent, nil
		}
		had := extent.Len()
		extent.Release()
		if extent, err = p.log.Read(p.offset, had/2, p.end(f)); err != nil {
			return storage.Extent{}, err
		}
		if extent.Len() < had {
			continue
		}
		if !first {
			extent.Release()
			return storage.Extent{}, nil
		}
		p.aborted = list
		f.listed += len(list)
		return extent, nil
	}
}

// end is where what the client may see ends.
func (p *fetchPartition) end(f *fetch) int64 {
	if f.committed {
		return p.marks.Stable
	}
	return p.marks.High
}

// failed chooses the code for a read that did not succeed.
func (p *fetchPartition) failed(f *fetch, err error) int16 {
	if errors.Is(err, storage.ErrDeleted) && f.byID {
		return kerr.UnknownTopicID.Code
	}
	if code := codeOf(err); code != kerr.UnknownServerError.Code {
		return code
	}
	return kerr.KafkaStorageError.Code
}

// checkEpoch compares the leader epoch that the client knows (KIP-320).
func (p *fetchPartition) checkEpoch() int16 {
	return checkLeaderEpoch(p.log, p.epoch)
}

func checkLeaderEpoch(log *storage.Partition, epoch int32) int16 {
	switch have := log.LeaderEpoch(); {
	case epoch < 0 || epoch == have:
		return 0
	case epoch < have:
		return kerr.FencedLeaderEpoch.Code
	}
	return kerr.UnknownLeaderEpoch.Code
}

// release unpins all that was found.
func (f *fetch) release() {
	for i := range f.partitions {
		f.partitions[i].extent.Release()
		f.partitions[i].extent = storage.Extent{}
		f.partitions[i].aborted = nil
	}
}

// errMidway: part of an answer has left and the rest cannot be read.
var errMidway = errors.New("records could not be read while they were being sent")

// render writes the answer: header, then for each partition its marks and its
// records, chunk by chunk. When records cannot be read before anything has left,
// their partition gets those before them, or the error if there are none; later
// only closing the connection helps, and the client's next request gets them.
func (w *answerWriter) render(s *slot) error {
	f := s.fetch
	for {
		size := f.size(&s.call)
		if len(w.out) > 0 && len(w.out)+size > gathered {
			if err := w.flush(); err != nil {
				return err
			}
		}
		err := w.renderOnce(s, size)
		var bad *unreadableError
		if !errors.As(err, &bad) {
			return err
		}
		p := &f.partitions[bad.partition]
		w.c.b.logger.Error("cannot read records", "topic", f.topicOf(bad.partition), "partition", p.number, "offset", p.offset, "error", bad.err)
		if bad.sent {
			return fmt.Errorf("%w: %w", errMidway, bad.err)
		}
		p.retreat(bad.err, f)
	}
}

// retreat is called when the partition's records cannot be read. Storage now ends
// what it gives before those that it found corrupt; if it gives no less, there is
// nothing good before them.
func (p *fetchPartition) retreat(cause error, f *fetch) {
	had := p.extent.Len()
	p.extent.Release()
	p.extent = storage.Extent{}
	var corrupt *storage.CorruptError
	if !errors.As(cause, &corrupt) {
		p.code = kerr.KafkaStorageError.Code
		return
	}
	less, err := p.log.Read(p.offset, had, p.end(f))
	if err != nil || less.Len() == 0 || less.Len() >= had {
		less.Release()
		p.code = kerr.CorruptMessage.Code
		return
	}
	p.extent = less
}

func (f *fetch) topicOf(partition int) string {
	for _, t := range f.topics {
		if partition >= t.parts.from && partition < t.parts.to {
			if t.topic != nil {
				return t.topic.Name
			}
			return string(f.names[t.name.from:t.name.to])
		}
	}
	return ""
}

// unreadableError names the partition whose records could not be read.
type unreadableError struct {
	partition int
	sent      bool // part of the answer has left
	err       error
}

func (e *unreadableError) Error() string { return e.err.Error() }

// renderOnce writes the answer of the given size. On an unreadableError that has
// sent nothing, what was gathered before stands as it was.
func (w *answerWriter) renderOnce(s *slot, size int) error {
	f := s.fetch
	before := len(w.out)
	w.out = w.grow(w.out, min(size, w.chunkSize(before+size)))
	out := appendFetchHead(w.out, f, &s.call, size)
	chunked := false
	for i := range f.topics {
		t := &f.topics[i]
		out = f.appendTopic(out, t)
		for n := t.parts.from; n < t.parts.to; n++ {
			p := &f.partitions[n]
			out = f.appendPartition(out, p)
			out = f.appendAborted(out, p)
			out = f.appendRecordsHead(out, p)
			if length := p.extent.Len(); length > 0 {
				var err error
				if out, chunked, err = w.copyExtent(out, p, length, chunked); err != nil {
					if chunked {
						w.out = w.out[:0]
					} else {
						w.out = out[:before]
					}
					var unreadable *unreadableError
					if errors.As(err, &unreadable) {
						unreadable.partition, unreadable.sent = n, chunked
					}
					return err
				}
			}
			out = f.endPartition(out)
		}
		out = f.endTopic(out)
	}
	w.out = f.appendTail(out)
	if len(w.out) > gathered || chunked {
		return w.flush()
	}
	return nil
}

// copyExtent appends an extent's bytes to out, and sends out whenever it is full.
func (w *answerWriter) copyExtent(out []byte, p *fetchPartition, length int, chunked bool) ([]byte, bool, error) {
	most := w.chunkSize(len(out) + length)
	for off := 0; off < length; {
		if len(out) >= most {
			if err := w.send(out); err != nil {
				return out, true, err
			}
			out, chunked = out[:0], true
		}
		n := min(length-off, most-len(out))
		out = w.grow(out, n)
		into := out[len(out) : len(out)+n]
		if _, err := p.extent.ReadAt(into, int64(off)); err != nil {
			return out, chunked, &unreadableError{err: err}
		}
		out = out[:len(out)+n]
		off += n
	}
	return out, chunked, nil
}
