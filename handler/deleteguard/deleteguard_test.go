package deleteguard

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Of several DELETEs at the same time, one is refused.
func TestGuardRefusesOne(t *testing.T) {
	g, err := New([]string{"*"}, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var key Key
	if err := g.Failed(t.Context(), key, tree.State{Name: "f", Exists: true}); err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, ok, err := g.Take(t.Context(), key); err != nil {
				t.Error(err)
			} else if ok {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	if refused.Load() != 1 {
		t.Errorf("%d are to be refused", refused.Load())
	}
}

func TestGuardWatchesAgents(t *testing.T) {
	for _, tt := range []struct {
		patterns []string
		agent    string
		want     bool
	}{
		{[]string{"rclone/*"}, "rclone/v1.60.1-DEV", true},
		{[]string{"rclone/*"}, "rclone/v1.76 (linux/amd64)", true},
		{[]string{"rclone/*"}, "my rclone/v1", false},
		{[]string{"rclone/*"}, "rclone", false},
		{[]string{"rclone/*"}, "", false},
		{[]string{"*"}, "", true},
		{[]string{"*"}, "any/1 (thing)", true},
		{[]string{"a/*", "b"}, "b", true},
		{nil, "rclone/v1", false},
	} {
		g, err := New(tt.patterns, nil, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Watches(tt.agent); got != tt.want {
			t.Errorf("%q watches %q: %v", tt.patterns, tt.agent, got)
		}
	}
	if _, err := New([]string{"["}, nil, time.Now); err == nil {
		t.Error("a pattern that is none is taken")
	}
}
