package etagfs_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// TestJournalCostsAPutThreeCalls: the journal is opened, written and closed under the lock of the commit that takes
// place anyway, and never synced. A close cannot fail, and no seam sees it.
func TestJournalCostsAPutThreeCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which no time passes for work in the background
		without, with := callsOfAPut(t, false), callsOfAPut(t, true)
		more := map[string]int{}
		for op, n := range with {
			if n != without[op] {
				more[op] = n - without[op]
			}
		}
		if want := map[string]int{"appendTo": 1, "write": 1}; !maps.Equal(more, want) {
			t.Errorf("with the journal there are %v more calls, want %v. Without it: %v", more, want, without)
		}
		synced := func(op string) bool { return strings.HasPrefix(op, "sync") }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(without)), synced) {
			t.Errorf("the PUT syncs nothing: %v", without)
		}
	})
}

// callsOfAPut returns how many system calls of each kind a guarded PUT over a file makes.
func callsOfAPut(t *testing.T, journal bool) map[string]int {
	t.Helper()
	var seam seam
	below, err := fs.Open(t.TempDir(), fs.Options{Before: seam.before, Durability: fs.Full, History: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := etagfs.New(below, etagfs.Options{Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, content := range []string{"0", "1"} { // after these, all directories and files are there
		if err := put(s, "f", content, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
	calls := map[string]int{}
	seam.arm(func(_ int, c fs.Call) error {
		calls[c.Op]++
		return nil
	})
	err = put(s, "f", "2", treetest.IfTag("f", treetest.TagOf("1")))
	seam.arm(nil)
	if err != nil {
		t.Fatal(err)
	}
	return calls
}
