package handler

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A distant counts the fetches of a store on another machine, and delays them.
type distant struct {
	mu      sync.Mutex
	fetches [][]string
}

const distance = 100 * time.Millisecond

func (d *distant) fetch(names []string) {
	time.Sleep(distance)
	d.mu.Lock()
	defer d.mu.Unlock()
	var above []string
	for _, name := range names {
		above = append(above, tree.Prefixes(name)...)
	}
	slices.Sort(above)
	d.fetches = append(d.fetches, slices.Compact(above))
}

// TestFetches: a condition names what it looks at, so a store needs one fetch for it. A guarded PUT needs one before
// the body, and one inside the commit.
func TestFetches(t *testing.T) {
	tag := string(treetest.TagOf("old"))
	for _, tt := range []struct {
		method, target, body string
		header               []string
		status, most         int
		names                []string // of each fetch
	}{
		{"PUT", "/d/e/f", "new", []string{"If-Match: " + tag}, http.StatusNoContent, 2, []string{"", "d", "d/e", "d/e/f"}},
		{"PUT", "/d/e/new", "new", []string{"If-None-Match: *"}, http.StatusCreated, 2, []string{"", "d", "d/e", "d/e/new"}},
		{"PUT", "/d/e/f", "new", []string{"If: </o/g> ([" + tag + "])", "If-Match: " + tag}, http.StatusNoContent, 2,
			[]string{"", "d", "d/e", "d/e/f", "o", "o/g"}},
		{"GET", "/d/e/f", "", []string{`If-Match: "stale"`}, http.StatusPreconditionFailed, 1, []string{"", "d", "d/e", "d/e/f"}},
		{"GET", "/d/e/f", "", nil, http.StatusOK, 1, []string{"", "d", "d/e", "d/e/f"}},
		{"DELETE", "/d/e/f", "", []string{"If-Match: " + tag}, http.StatusNoContent, 1, []string{"", "d", "d/e", "d/e/f"}},
		{"MOVE", "/d/e/f", "", []string{"Destination: /o/f", "If-Match: " + tag}, http.StatusCreated, 1,
			[]string{"", "d", "d/e", "d/e/f", "o", "o/f"}},
		{"PROPFIND", "/d/", "", []string{"Depth: infinity"}, http.StatusMultiStatus, 2, []string{"", "d"}},
	} {
		t.Run(fmt.Sprint(tt.method, " ", tt.header), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var far distant
				store := memtree.New(memtree.Options{Fetch: far.fetch})
				lay(t, store, "d/", "d/e/", "d/e/f=old", "o/", "o/g=old")
				h := newTestHandler(t, Config{Store: store, RequireConditions: true})
				far.fetches = nil
				start := time.Now()
				if w := ask(t, h, tt.method, tt.target, tt.body, tt.header...); w.Code != tt.status {
					t.Errorf("got %d %s, want %d", w.Code, w.Body, tt.status)
				}
				if took := time.Since(start); took != time.Duration(tt.most)*distance {
					t.Errorf("it took %v, with the fetches %q; want %d of them", took, far.fetches, tt.most)
				}
				for _, names := range far.fetches {
					if !slices.Equal(names, tt.names) {
						t.Errorf("it fetches %q, want %q at once", names, tt.names)
					}
				}
			})
		})
	}
}
