package etagfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A listing has one directory of the tree open at a time, however deep that is: else a few listings that go on slowly
// take all descriptors.
func TestDeepListingHasOneDirectoryOpen(t *testing.T) {
	dir := quickDir(t)
	s := openQuietly(t, dir, fs.Options{Durability: fs.None})
	defer s.Close()
	name := "d"
	layout := []string{"d/"}
	for range 30 {
		layout = append(layout, name+"/f=1", name+"/e/", name+"/e/x=2", name+"/n/")
		name += "/n"
	}
	if err := lay(layout...)(s); err != nil {
		t.Fatal(err)
	}
	listed, most := 0, 0
	for state, err := range s.List(ctx, "d", tree.ListOptions{Depth: -1, Limit: len(layout)}, tree.Condition{}) {
		if err != nil {
			t.Errorf("%q: %v", state.Name, err)
		}
		listed++
		most = max(most, openBelow(t, filepath.Join(dir, "d")))
	}
	if listed != len(layout) || most != 1 {
		t.Errorf("%d resources were listed with %d directories open at once, want %d with 1", listed, most, len(layout))
	}
}

// openBelow returns how many descriptors this process has that lead to a directory or below it.
func openBelow(t *testing.T, dir string) (n int) {
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range descriptors {
		if at, _ := os.Readlink("/proc/self/fd/" + d.Name()); at == dir || strings.HasPrefix(at, dir+"/") {
			n++
		}
	}
	return n
}
