package etagfs_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// TestJournalCostsAPutOneCall: the journal is written under the lock of the commit that takes place anyway, and never
// synced. If it does not stay open from one commit to the next, it is opened and closed as well. A close cannot fail, and
// no seam sees it.
func TestJournalCostsAPutOneCall(t *testing.T) {
	t.Run("soon after another PUT", func(t *testing.T) { journalCosts(t, time.Hour, map[string]int{"write": 1}) })
	t.Run("later", func(t *testing.T) { journalCosts(t, 0, map[string]int{"appendTo": 1, "write": 1}) })
}

// journalCosts compares the calls of a PUT that are about the journal, where files stay open for a time.
func journalCosts(t *testing.T, linger time.Duration, want map[string]int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { // in which no time passes for work in the background
		without, with := callsOfAPut(t, false, linger), callsOfAPut(t, true, linger)
		more := map[string]int{}
		for op, n := range with {
			if n != without[op] {
				more[op] = n - without[op]
			}
		}
		if !maps.Equal(more, want) {
			t.Errorf("with the journal there are %v more calls, want %v. Without it: %v", more, want, without)
		}
		synced := func(op string) bool { return strings.HasPrefix(op, "sync") }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(without)), synced) {
			t.Errorf("the PUT syncs nothing: %v", without)
		}
	})
}

// callsOfAPut returns how many system calls of each kind a guarded PUT over a file makes.
func callsOfAPut(t *testing.T, journal bool, linger time.Duration) map[string]int {
	t.Helper()
	var seam seam
	below, err := fs.Open(t.TempDir(), fs.Options{Before: seam.before, Durability: fs.Full, History: true, Linger: linger})
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
	seam.arm(func(_ int, c vfs.Call) error {
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
