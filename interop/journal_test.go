//go:build unix

package interop

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// entry is one thing that happened to a member: what member/main.go and its
// sisters print, or the story's own note that it killed one.
type entry struct {
	member string

	At         int64           `json:"at"` // Unix nanoseconds, of the one clock of this machine
	Event      string          `json:"event"`
	Partitions []int32         `json:"partitions"`
	Partition  int32           `json:"partition"`
	Offset     int64           `json:"offset"`
	Value      string          `json:"value"`
	Offsets    map[int32]int64 `json:"offsets"` // committed, by partition
	Error      string          `json:"error"`
}

// killed is the event of a member that kill -9 ended.
const killed = "killed"

// journal gathers what happens to all members of one group.
type journal struct {
	mu struct {
		sync.Mutex
		entries []entry
		holds   map[string]map[int32]bool // partitions by member
		read    map[int32]int64           // records in a row from offset 0 that somebody has read
		seen    map[int32]map[int64]bool  // read beyond that
		commits map[int32]int64           // the last that a member was told of
		grown   chan struct{}             // closed at each entry
	}
}

func newJournal() *journal {
	j := &journal{}
	j.mu.holds, j.mu.read, j.mu.seen, j.mu.commits = map[string]map[int32]bool{}, map[int32]int64{}, map[int32]map[int64]bool{}, map[int32]int64{}
	j.mu.grown = make(chan struct{})
	return j
}

// line takes what a member printed; what is no JSON is the talk of a library.
func (j *journal) line(member, text string) (taken bool) {
	e := entry{member: member}
	if json.Unmarshal([]byte(text), &e) != nil || e.Event == "" {
		return false
	}
	j.add(e)
	return true
}

func (j *journal) add(e entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.entries = append(j.mu.entries, e)
	held := j.mu.holds[e.member]
	switch e.Event {
	case "assigned":
		if held == nil {
			held = map[int32]bool{}
			j.mu.holds[e.member] = held
		}
		for _, p := range e.Partitions {
			held[p] = true
		}
	case "revoked", "lost":
		for _, p := range e.Partitions {
			delete(held, p)
		}
	case "left", killed:
		delete(j.mu.holds, e.member)
	case "committed":
		for p, offset := range e.Offsets {
			j.mu.commits[p] = max(j.mu.commits[p], offset)
		}
	case "record":
		j.record(e.Partition, e.Offset)
	}
	close(j.mu.grown)
	j.mu.grown = make(chan struct{})
}

func (j *journal) record(p int32, offset int64) {
	seen := j.mu.seen[p]
	if seen == nil {
		seen = map[int64]bool{}
		j.mu.seen[p] = seen
	}
	seen[offset] = true
	for seen[j.mu.read[p]] {
		delete(seen, j.mu.read[p])
		j.mu.read[p]++
	}
}

// entries are all so far, in the order of their time.
func (j *journal) entries() []entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := slices.Clone(j.mu.entries)
	slices.SortStableFunc(all, func(a, b entry) int { return int(a.At - b.At) })
	return all
}

// since are the entries of a member, of the given events, after a time.
func (j *journal) since(at time.Time, member string, events ...string) (some []entry) {
	for _, e := range j.entries() {
		if e.member == member && e.At > at.UnixNano() && slices.Contains(events, e.Event) {
			some = append(some, e)
		}
	}
	return some
}

// holds are the partitions that a member has, sorted.
func (j *journal) holds(member string) []int32 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(maps.Keys(j.mu.holds[member]))
}

// commits are the offsets that members know to be committed.
func (j *journal) commits() map[int32]int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.mu.commits)
}

// until waits until ok says so, which is asked again at each entry.
func (j *journal) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		j.mu.Lock()
		grown := j.mu.grown
		j.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-grown:
		case <-deadline:
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// String tells who has what, and what happened but for records and commits.
func (j *journal) String() string {
	text := ""
	for _, e := range j.entries() {
		if e.Event != "record" && e.Event != "committed" {
			text += fmt.Sprintf("%s %s %s %v %s\n", time.Unix(0, e.At).Format("15:04:05.000"), e.member, e.Event, e.Partitions, e.Error)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return text + fmt.Sprintf("has now: %v; read to: %v", j.mu.holds, j.mu.read)
}
