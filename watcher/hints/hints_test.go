package hints

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"r-seed-1f3a754f.example/ifmatch/watcher"
)

type hints []string

func (h *hints) Changed(names ...string)             { *h = append(*h, names...) }
func (h *hints) Rescan()                             { *h = append(*h, "rescan") }
func (h *hints) Watched(func(context.Context) error) {}
func (h *hints) AskDir() string                      { return "" }

func (h *hints) Removed(names ...string) {
	for _, name := range names {
		*h = append(*h, "-"+name)
	}
}

func TestEventsReachTheStore(t *testing.T) {
	var got hints
	notify(&got, []watcher.Event{
		{Name: "a", Op: watcher.Changed},
		{Name: "gone", Op: watcher.Removed},
		{Name: "b/c", Op: watcher.Changed},
	})
	notify(&got, []watcher.Event{{Op: watcher.Overflow}})
	if want := (hints{"-gone", "a", "b/c", "rescan"}); !slices.Equal(got, want) {
		t.Errorf("the store was told %q, want %q", got, want)
	}
}

// Watching is tried until it succeeds. Then the store is told to look for changes.
func TestWatchingIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		reasons := []error{errors.New("no watches"), errors.New("no watches"), errors.New("no descriptors")}
		var got hints
		var text bytes.Buffer
		var tries int
		keepWatching(ctx, &got, slog.New(slog.NewTextHandler(&text, nil)), func(ready func()) error {
			if tries++; tries <= len(reasons) {
				return reasons[tries-1]
			}
			ready()
			cancel()
			return nil
		})
		if want := (hints{"rescan"}); tries != len(reasons)+1 || !slices.Equal(got, want) {
			t.Errorf("tried %d times, the store was told %q", tries, got)
		}
		for part, times := range map[string]int{"error=\"no watches\"": 1, "error=\"no descriptors\"": 1, "watched again": 1} {
			if strings.Count(text.String(), part) != times {
				t.Errorf("not said %d times: %s\n%s", times, part, &text)
			}
		}
	})
}

// A server that is stopped does not wait for the next try.
func TestWatchingEndsWhileItCannotBe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	keepWatching(ctx, &hints{}, slog.New(slog.DiscardHandler), func(func()) error {
		cancel()
		return errors.New("no watches")
	})
}
