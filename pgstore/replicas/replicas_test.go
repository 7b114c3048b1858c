package replicas

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// kept are notes in memory that do not expire.
type kept map[string][]byte

func (k kept) Keep(_ context.Context, key string, value []byte, _ time.Duration) error {
	k[key] = value
	return nil
}

func (k kept) List(context.Context, int) (map[string][]byte, error) { return k, nil }

func (k kept) Remove(_ context.Context, keys ...string) error {
	for _, key := range keys {
		delete(k, key)
	}
	return nil
}

// TestReplicasWithOtherFilesAreTold once, and not while a change is on its way from one to the next.
func TestReplicasWithOtherFilesAreTold(t *testing.T) {
	notes := kept{}
	files := map[string]string{"a": "1", "b": "1"}
	var told []string
	var all []*Teller
	for _, id := range []string{"a", "b"} {
		all = append(all, New(notes, Replica{ID: id}, func(_ context.Context, self *Replica) { self.Files = files[id] }, func(others []Replica) {
			told = append(told, fmt.Sprint(id, " ", len(others)))
		}))
	}
	for _, step := range []struct {
		change string
		files  string
		want   []string
	}{
		{"", "", nil},
		{"a", "2", nil},
		{"b", "2", nil}, // soon after the other one
		{"", "", nil},
		{"a", "3", nil},
		{"", "", nil},
		{"", "", []string{"a 1", "b 1"}},
		{"", "", nil},               // not again
		{"b", "3", []string{"b 0"}}, // the other one has looked before
		{"", "", []string{"a 0"}},
	} {
		if step.change != "" {
			files[step.change] = step.files
		}
		told = nil
		for _, one := range all {
			if err := one.Tell(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(told)
		if !slices.Equal(told, step.want) {
			t.Errorf("after %q: %q, want %q", step.change+step.files, told, step.want)
		}
	}
}
