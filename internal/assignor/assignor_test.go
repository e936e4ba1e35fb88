package assignor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	for _, name := range Names() {
		if assign, ok := Find(name); !ok || assign == nil {
			t.Errorf("Find(%q) finds nothing, though Names tells it", name)
		}
	}
	if _, ok := Find("sticky"); ok {
		t.Error("Find finds an assignor that Names does not tell")
	}
}

// show writes an assignment as "a: 0/0-3 1/2 | b: 0/4", topic/partitions.
func show(got Assignment) string {
	var members []string
	for _, id := range slices.Sorted(maps.Keys(got)) {
		words := []string{id + ":"}
		for t := range 8 {
			if list := got[id][topicID(t)]; len(list) > 0 {
				words = append(words, fmt.Sprintf("%d/%s", t, strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")))
			}
		}
		members = append(members, strings.Join(words, " "))
	}
	return strings.Join(members, " | ")
}

// A step changes a group and says what its assignment is then.
type step struct {
	does   string
	change func(*Spec)
	want   string
}

func join(id string, topics ...int) func(*Spec) {
	return func(s *Spec) { s.Members[id] = group(nil, map[string][]int{id: topics}).Members[id] }
}

func joinStatic(id, instance string, topics ...int) func(*Spec) {
	return func(s *Spec) {
		join(id, topics...)(s)
		m := s.Members[id]
		m.Instance = instance
		s.Members[id] = m
	}
}

func leave(id string) func(*Spec) { return func(s *Spec) { delete(s.Members, id) } }

func topic(i int, partitions int32) func(*Spec) {
	return func(s *Spec) { s.Partitions[topicID(i)] = partitions }
}

func subscribe(id string, topics ...int) func(*Spec) {
	return func(s *Spec) {
		m := group(nil, map[string][]int{id: topics}).Members[id]
		m.Owned = s.Members[id].Owned
		s.Members[id] = m
	}
}

// play runs the steps, each on the assignment that the one before it led to.
func play(t *testing.T, name string, sizes []int32, steps []step) {
	t.Helper()
	assign, _ := Find(name)
	spec := group(sizes, nil)
	for _, s := range steps {
		s.change(&spec)
		got := assign(spec)
		if show(got) != s.want {
			t.Errorf("%s:\n got %s\nwant %s", s.does, show(got), s.want)
		}
		spec = after(spec, got)
	}
}

func TestUniformThroughTheLifeOfAGroup(t *testing.T) {
	play(t, "uniform", []int32{3, 3}, []step{
		{"the first has all", join("a", 0, 1), "a: 0/0,1,2 1/0,1,2"},
		{"the second gets half of every topic", join("b", 0, 1), "a: 0/0,1 1/0 | b: 0/2 1/1,2"},
		{"the third gets one of each", join("c", 0, 1), "a: 0/0 1/0 | b: 0/2 1/1 | c: 0/1 1/2"},
		{"what the second had goes to the others", leave("b"), "a: 0/0,2 1/0 | c: 0/1 1/1,2"},
		{"new partitions go to whoever has fewer", topic(0, 5), "a: 0/0,2,3 1/0 | c: 0/1,4 1/1,2"},
		{"a new topic that nobody subscribes to changes nothing", topic(2, 9), "a: 0/0,2,3 1/0 | c: 0/1,4 1/1,2"},
		{"a deleted topic takes its partitions along", topic(1, 0), "a: 0/0,2,3 | c: 0/1,4"},
		{"the last takes all", leave("a"), "c: 0/0,1,2,3,4"},
		{"without subscriptions there is nothing", subscribe("c"), "c:"},
		{"a group can be empty", leave("c"), ""},
	})
}

func TestUniformKeepsTheLargerShareWhereItIs(t *testing.T) {
	play(t, "uniform", []int32{3}, []step{
		{"one has all", join("b", 0), "b: 0/0,1,2"},
		{"another, first by its id, gets the smaller share", join("a", 0), "a: 0/2 | b: 0/0,1"},
		{"a fourth partition makes them equal", topic(0, 4), "a: 0/2,3 | b: 0/0,1"},
		{"a fifth goes by the order of members", topic(0, 5), "a: 0/2,3,4 | b: 0/0,1"},
	})
}

func TestUniformWithUnequalSubscriptions(t *testing.T) {
	play(t, "uniform", []int32{6, 2}, []step{
		{"one topic each", join("a", 0), "a: 0/0,1,2,3,4,5"},
		{"who can take the small topic only takes it", join("b", 1), "a: 0/0,1,2,3,4,5 | b: 1/0,1"},
		{"who can take both relieves who has more", join("c", 0, 1), "a: 0/0,1,2 | b: 1/0,1 | c: 0/3,4,5"},
		{"a fourth takes part of the large topic", join("d", 0), "a: 0/0,1 | b: 1/0,1 | c: 0/3,4 | d: 0/2,5"},
		{"what is no longer subscribed to is taken away", subscribe("c", 1), "a: 0/0,1,3 | b: 1/0 | c: 1/1 | d: 0/2,4,5"},
	})
}

// TestUniformMovesAlongChains is the case that evening out topics one by one does
// not solve: both topics are even among their subscribers, the group is not.
func TestUniformMovesAlongChains(t *testing.T) {
	spec := group([]int32{7, 8}, map[string][]int{"a": {0}, "b": {0, 1}, "c": {1}})
	spec.Members["a"].Owned[topicID(0)] = []int32{0, 1, 2, 3}
	spec.Members["b"].Owned[topicID(0)] = []int32{4, 5, 6}
	spec.Members["b"].Owned[topicID(1)] = []int32{0, 1}
	spec.Members["c"].Owned[topicID(1)] = []int32{2, 3, 4, 5, 6, 7}
	want := "a: 0/0,1,2,3,4 | b: 0/5,6 1/0,1,2 | c: 1/3,4,5,6,7"
	if got := show(uniform(spec)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRangeThroughTheLifeOfAGroup(t *testing.T) {
	play(t, "range", []int32{3, 3}, []step{
		{"the first has all", join("b", 0, 1), "b: 0/0,1,2 1/0,1,2"},
		{"equal topics are divided equally, for joins", join("c", 0, 1), "b: 0/0,1 1/0,1 | c: 0/2 1/2"},
		{"by the order of ids", join("a", 0, 1), "a: 0/0 1/0 | b: 0/1 1/1 | c: 0/2 1/2"},
		{"static members come first", joinStatic("z", "i", 0, 1), "a: 0/1 1/1 | b: 0/2 1/2 | c: | z: 0/0 1/0"},
		{"a static member keeps its place under another id", func(s *Spec) {
			leave("z")(s)
			joinStatic("d", "i", 0, 1)(s)
		}, "a: 0/1 1/1 | b: 0/2 1/2 | c: | d: 0/0 1/0"},
		{"each topic is divided among its own subscribers", subscribe("a", 1), "a: 1/1 | b: 0/1 1/2 | c: 0/2 | d: 0/0 1/0"},
	})
}

func TestStaticMembersAreOrderedByInstance(t *testing.T) {
	spec := group([]int32{4}, nil)
	joinStatic("m1", "i2", 0)(&spec)
	joinStatic("m2", "i1", 0)(&spec)
	if got, want := show(ranges(spec)), "m1: 0/2,3 | m2: 0/0,1"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
