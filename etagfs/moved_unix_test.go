//go:build unix

package etagfs_test

import (
	"os"
	"path/filepath"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Properties go with the file, also where a local program moves it, and a file that is made anew under its name has
// none.
func TestPropertiesGoWithALocalMove(t *testing.T) {
	dir := quickDir(t)
	s := openQuietly(t, dir, fs.Options{Durability: fs.None})
	defer s.Close()
	if err := lay("f=1", "f+", "d/", "d+")(s); err != nil {
		t.Fatal(err)
	}
	count := func(name string) int {
		t.Helper()
		state, err := s.Stat(ctx, name, tree.ReadOptions{Want: tree.WantProperties})
		if err != nil {
			t.Fatal(err)
		}
		return len(state.Properties)
	}
	for _, name := range []string{"f", "d"} {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, name+" moved")); err != nil {
			t.Fatal(err)
		}
		if got := count(name + " moved"); got != 1 {
			t.Errorf("%q has %d properties where it was moved, want 1", name, got)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("1"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := lay("d/")(s); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "d"} {
		if got := count(name); got != 0 {
			t.Errorf("%q has %d properties when it is made anew, want 0", name, got)
		}
	}
	if err := os.Remove(filepath.Join(dir, "f moved")); err != nil {
		t.Fatal(err)
	}
	if err := put(s, "f moved", "1", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	if got := count("f moved"); got != 0 {
		t.Errorf("what was removed and put anew has %d properties, want 0", got)
	}
}
