package meta

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// mustApply applies records that fit.
func mustApply(t *testing.T, img *Image, records ...Record) *Image {
	t.Helper()
	for _, r := range records {
		next, err := img.Apply(r)
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		img = next
	}
	return img
}

// TestLogStartsOnlyRise compares with a plain slice, and sees that an image that
// is kept does not change.
func TestLogStartsOnlyRise(t *testing.T) {
	const partitions = 200
	rng := rand.New(rand.NewPCG(1, 2))
	img := mustApply(t, NewImage(), TopicRecord{Name: "a", ID: id(1), Partitions: partitions}, TopicRecord{Name: "b", ID: id(2), Partitions: partitions})
	model := make([]int64, partitions)
	type kept struct {
		img  *Image
		want []int64
	}
	var old []kept
	for range 300 {
		r := LogStartRecord{ID: id(1)}
		for range 1 + rng.IntN(4) {
			s := LogStart{rng.Int32N(partitions), rng.Int64N(50)}
			r.Starts = append(r.Starts, s)
			model[s.Partition] = max(model[s.Partition], s.Offset)
		}
		img = mustApply(t, img, r)
		old = append(old, kept{img, slices.Clone(model)})
	}
	for i, k := range old {
		if got := k.img.LogStarts(k.img.Topic("a")); !slices.Equal(got, k.want) {
			t.Fatalf("image %d has starts %v, want %v", i, got, k.want)
		}
	}
	if got := img.LogStarts(img.Topic("b")); got != nil {
		t.Errorf("a topic whose log never moved has starts %v", got)
	}
	if got := img.LogStart(id(1), -1) + img.LogStart(id(1), 1000) + img.LogStart(id(9), 0); got != 0 {
		t.Errorf("starts of what does not exist: %d", got)
	}
}

func TestLogStartsGoWithTheirTopic(t *testing.T) {
	img := mustApply(t, NewImage(), TopicRecord{Name: "a", ID: id(1), Partitions: 2},
		LogStartRecord{ID: id(1), Starts: []LogStart{{1, 7}}},
		TopicDeletedRecord{Name: "a", ID: id(1)})
	if got := img.LogStart(id(1), 1); got != 0 || img.starts.len() != 0 {
		t.Errorf("a deleted topic has log start %d, %d topics have some", got, img.starts.len())
	}
}

func TestLogStartsThatDoNotFit(t *testing.T) {
	img := mustApply(t, NewImage(), TopicRecord{Name: "a", ID: id(1), Partitions: 2})
	for _, r := range []LogStartRecord{
		{ID: id(2), Starts: []LogStart{{0, 1}}},
		{ID: id(1), Starts: []LogStart{{2, 1}}},
		{ID: id(1), Starts: []LogStart{{0, -1}}},
		{ID: id(1)},
	} {
		if _, err := img.Apply(r); !errors.Is(err, ErrConflict) {
			t.Errorf("%+v: %v, want ErrConflict", r, err)
		}
	}
}
