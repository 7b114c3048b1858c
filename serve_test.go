package main

import (
	"slices"
	"testing"

	"ifmatch/watcher"
)

type hints []string

func (h *hints) Changed(names ...string) { *h = append(*h, names...) }
func (h *hints) Rescan()                 { *h = append(*h, "rescan") }

func TestEventsReachTheStore(t *testing.T) {
	var got hints
	tell(&got, []watcher.Event{
		{Name: "a", Op: watcher.Changed},
		{Name: "gone", Op: watcher.Removed},
		{Name: "b/c", Op: watcher.Changed},
	})
	tell(&got, []watcher.Event{{Op: watcher.Overflow}})
	if want := (hints{"a", "b/c", "rescan"}); !slices.Equal(got, want) {
		t.Errorf("the store was told %q, want %q", got, want)
	}
}
