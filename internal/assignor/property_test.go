package assignor

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// forAll checks a property of every assignor's answer to many groups.
func forAll(t *testing.T, homogeneous bool, names []string, check func(*rapid.T, Spec, Assignment)) {
	for _, name := range names {
		assign, _ := Find(name)
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			spec := anyGroup(t, homogeneous)
			check(t, spec, assign(spec))
		}))
	}
}

// invalid says what is wrong with an assignment whatever the assignor.
func invalid(spec Spec, got Assignment) error {
	if len(got) != len(spec.Members) {
		return fmt.Errorf("%d members have entries, of %d", len(got), len(spec.Members))
	}
	owners := map[TopicID]map[int32]int{}
	for id, lists := range got {
		for topic, list := range lists {
			if _, ok := spec.Members[id].Topics[topic]; !ok || len(list) == 0 {
				return fmt.Errorf("%s has %d partitions of %x, subscribed: %v", id, len(list), topic, ok)
			}
			if !slices.IsSorted(list) || list[0] < 0 || list[len(list)-1] >= spec.Partitions[topic] {
				return fmt.Errorf("%s has %v of a topic with %d", id, list, spec.Partitions[topic])
			}
			for _, p := range list {
				if owners[topic] == nil {
					owners[topic] = map[int32]int{}
				}
				owners[topic][p]++
			}
		}
	}
	return unowned(spec, owners)
}

func unowned(spec Spec, owners map[TopicID]map[int32]int) error {
	for _, m := range spec.Members {
		for topic := range m.Topics {
			for p := range spec.Partitions[topic] {
				if n := owners[topic][p]; n != 1 {
					return fmt.Errorf("partition %d of %x has %d owners", p, topic, n)
				}
			}
		}
	}
	return nil
}

func TestEveryPartitionHasOneSubscriber(t *testing.T) {
	for _, homogeneous := range []bool{true, false} {
		forAll(t, homogeneous, Names(), func(t *rapid.T, spec Spec, got Assignment) {
			if err := invalid(spec, got); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestEqualSpecsGiveEqualAssignments(t *testing.T) {
	for _, name := range Names() {
		assign, _ := Find(name)
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			spec := anyGroup(t, false)
			first := assign(spec)
			for range 4 {
				again := Spec{Members: maps.Clone(spec.Members), Partitions: maps.Clone(spec.Partitions)}
				if diff := cmp.Diff(first, assign(again)); diff != "" {
					t.Fatal(diff)
				}
			}
		}))
	}
}

func TestTheSpecIsOnlyRead(t *testing.T) {
	for _, name := range Names() {
		assign, _ := Find(name)
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			spec := anyGroup(t, false)
			before := fmt.Sprint(spec)
			for _, lists := range assign(spec) {
				for topic, list := range lists {
					if len(list) != cap(list) {
						t.Fatal("appending to one list would write into another")
					}
					clear(list)
					delete(lists, topic)
				}
			}
			if fmt.Sprint(spec) != before {
				t.Fatal("the spec changed when its assignment did")
			}
		}))
	}
}

func size(lists map[TopicID][]int32) int {
	n := 0
	for _, list := range lists {
		n += len(list)
	}
	return n
}

func TestUniformIsBalancedWithinOne(t *testing.T) {
	forAll(t, true, []string{"uniform"}, func(t *rapid.T, _ Spec, got Assignment) {
		var sizes []int
		for _, lists := range got {
			sizes = append(sizes, size(lists))
		}
		if len(sizes) > 0 && slices.Max(sizes)-slices.Min(sizes) > 1 {
			t.Fatalf("members have %v partitions", sizes)
		}
	})
}

// retained counts the partitions that stay with a member that owned them.
func retained(spec Spec, got Assignment) int {
	n := 0
	for id, m := range spec.Members {
		for topic, owned := range m.Owned {
			for _, p := range owned {
				if slices.Contains(got[id][topic], p) {
					n++
				}
			}
		}
	}
	return n
}

// mayRetain counts how many could stay at most in a homogeneous group: each member
// keeps what an even share allows, and the shares that are larger by one go to
// those who own most.
func mayRetain(spec Spec) int {
	var owned []int
	total := 0
	claimed := map[string]bool{}
	ids := ordered(spec.Members)
	for i, id := range ids {
		n := 0
		for topic, list := range spec.Members[id].Owned {
			for _, p := range list {
				_, subscribed := spec.Members[id].Topics[topic]
				key := fmt.Sprint(topic, p)
				if subscribed && p < spec.Partitions[topic] && !claimed[key] {
					claimed[key] = true
					n++
				}
			}
		}
		owned = append(owned, n)
		for topic := range spec.Members[id].Topics {
			if i == 0 {
				total += int(spec.Partitions[topic])
			}
		}
	}
	slices.SortFunc(owned, func(a, b int) int { return b - a })
	most := 0
	for i, n := range owned {
		share := total / len(owned)
		if i < total%len(owned) {
			share++
		}
		most += min(n, share)
	}
	return most
}

func TestUniformMovesAsFewAsCanBe(t *testing.T) {
	forAll(t, true, []string{"uniform"}, func(t *rapid.T, spec Spec, got Assignment) {
		if kept, most := retained(spec, got), mayRetain(spec); kept < most {
			t.Fatalf("%d partitions stay, %d could", kept, most)
		}
	})
}

// TestUniformIsAsEvenAsSubscriptionsAllow looks for a chain of members, each of
// which could give one to the next, from one that has at least two more than the
// last. An assignment without one is as even as can be.
func TestUniformIsAsEvenAsSubscriptionsAllow(t *testing.T) {
	forAll(t, false, []string{"uniform"}, func(t *rapid.T, spec Spec, got Assignment) {
		ids := slices.Sorted(maps.Keys(got))
		leads := map[[2]string]bool{}
		for _, a := range ids {
			for _, b := range ids {
				for topic := range got[a] {
					if _, ok := spec.Members[b].Topics[topic]; ok {
						leads[[2]string{a, b}] = true
					}
				}
			}
		}
		for _, by := range ids {
			for _, a := range ids {
				for _, b := range ids {
					if leads[[2]string{a, by}] && leads[[2]string{by, b}] {
						leads[[2]string{a, b}] = true
					}
				}
			}
		}
		for link := range leads {
			if a, b := size(got[link[0]]), size(got[link[1]]); a > b+1 {
				t.Fatalf("%s has %d, %s has %d, and a chain leads there", link[0], a, link[1], b)
			}
		}
	})
}

func TestWhatIsAssignedStaysAssigned(t *testing.T) {
	for _, homogeneous := range []bool{true, false} {
		for _, name := range Names() {
			assign, _ := Find(name)
			t.Run(fmt.Sprintf("%s/homogeneous=%v", name, homogeneous), rapid.MakeCheck(func(t *rapid.T) {
				spec := anyGroup(t, homogeneous)
				first := assign(spec)
				if diff := cmp.Diff(first, assign(after(spec, first))); diff != "" {
					t.Fatal(diff)
				}
			}))
		}
	}
}

// TestRangesAreRuns checks range against its definition: by the order of members,
// each has the run of a topic that follows on that of the one before it.
func TestRangesAreRuns(t *testing.T) {
	forAll(t, false, []string{"range"}, func(t *rapid.T, spec Spec, got Assignment) {
		for topic, n := range spec.Partitions {
			var members []string
			for id, m := range spec.Members {
				if _, ok := m.Topics[topic]; ok {
					members = append(members, id)
				}
			}
			slices.SortFunc(members, func(a, b string) int {
				x, y := spec.Members[a].Instance, spec.Members[b].Instance
				if x == "" && y == "" {
					return bytes.Compare([]byte(a), []byte(b))
				}
				if x == "" || y == "" {
					return len(y) - len(x)
				}
				return bytes.Compare([]byte(x), []byte(y))
			})
			next := int32(0)
			for i, id := range members {
				list := got[id][topic]
				least := int(n) / len(members)
				if len(list) != least && (len(list) != least+1 || i >= int(n)%len(members)) {
					t.Fatalf("member %d of %d has %d of %d partitions", i, len(members), len(list), n)
				}
				for _, p := range list {
					if p != next {
						t.Fatalf("%s has %v, which does not begin at %d", id, list, next)
					}
					next++
				}
			}
		}
	})
}
