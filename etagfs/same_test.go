//go:build unix

package etagfs_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A PUT of what is there leaves the very file that is there.
func TestSameContentIsLeftAlone(t *testing.T) {
	look := func(v *served) os.FileInfo {
		t.Helper()
		info, err := os.Stat(v.path("f"))
		v.must(err)
		return info
	}
	same := func(a, b os.FileInfo) bool { return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) }
	past := time.Unix(1_000_000_000, 0)
	for _, tt := range []struct {
		about string
		lay   func(v *served)
		put   string
		want  bool // it is the same file afterwards
	}{
		{"our own", func(v *served) { v.must(put(v, "f", "content", tree.Condition{})) }, "content", true},
		{"our own, and the tag is not known any more",
			func(v *served) { v.must(put(v, "f", "content", tree.Condition{})); v.Distrust() }, "content", true},
		{"a local program's", func(v *served) { v.must(os.WriteFile(v.path("f"), []byte("content"), 0o666)) },
			"content", true},
		{"nothing in it", func(v *served) { v.must(os.WriteFile(v.path("f"), nil, 0o666)) }, "", true},
		{"other content", func(v *served) { v.must(put(v, "f", "content", tree.Condition{})) }, "CONTENT", false},
		{"a local program has edited it", func(v *served) {
			v.must(put(v, "f", "content", tree.Condition{}), os.WriteFile(v.path("f"), []byte("CONTENT"), 0o666))
		}, "content", false},
		{"a local program has edited it, and set the time back", func(v *served) {
			v.must(put(v, "f", "content", tree.Condition{}))
			before := look(v).ModTime()
			v.must(os.WriteFile(v.path("f"), []byte("CONTENT"), 0o666), os.Chtimes(v.path("f"), before, before))
		}, "content", false},
	} {
		t.Run(tt.about, func(t *testing.T) {
			v := serve(t)
			tt.lay(v)
			before := look(v)
			v.must(put(v, "f", tt.put, tree.Condition{}))
			if got := same(before, look(v)); got != tt.want {
				t.Errorf("it is the same file: %v, want %v", got, tt.want)
			}
			v.wantTag("f", tt.put)
		})
		t.Run(tt.about+", with a time", func(t *testing.T) {
			v := serve(t)
			tt.lay(v)
			before := look(v)
			_, _, err := v.Put(ctx, "f", strings.NewReader(tt.put), tree.PutOptions{Length: -1, Modified: past},
				tree.Condition{})
			v.must(err)
			after := look(v)
			if got := os.SameFile(before, after); got != tt.want || !after.ModTime().Equal(past) {
				t.Errorf("it is the same file: %v, want %v; it has %v", got, tt.want, after.ModTime())
			}
			v.wantTag("f", tt.put)
		})
	}
}

// Nothing is decided by what was there before the commit.
func TestSameContentIsEditedMeanwhile(t *testing.T) {
	for _, op := range []string{"tryFlock", "lease"} { // as the commit begins, and as the time is about to be set
		v := serve(t)
		v.must(put(v, "f", "content", tree.Condition{}))
		edited := false
		v.seam.arm(func(_ int, c vfs.Call) error {
			if c.Op != op || edited {
				return nil
			}
			edited = true
			return os.WriteFile(v.path("f"), []byte("CONTENT"), 0o666)
		})
		opts := tree.PutOptions{Length: -1, Modified: time.Unix(1_000_000_000, 0)}
		state, _, err := v.Put(ctx, "f", strings.NewReader("content"), opts, tree.Condition{})
		if err != nil || state.Tag != treetest.TagOf("content") || !edited {
			t.Errorf("edited at %s: got %+v, error %v", op, state, err)
		}
		v.wantTag("f", "content")
	}
}

// What is known of a file stays known when a client sends it again, with a time of its own.
func TestSameContentIsNotReadAgain(t *testing.T) {
	v := serve(t)
	v.must(put(v, "f", "content", tree.Condition{}))
	below := v.below()
	able := below.Abilities()
	below.Close()
	if !able.Leases || !able.FineTimes {
		t.Logf("it is read again here, where there are no leases or time stamps are coarse: %v", able)
		return
	}
	v.wantReads("Put of the same, twice, and Stat", 0, func() {
		for _, modified := range []time.Time{{}, time.Unix(1_000_000_000, 0), time.Unix(1_000_000_001, 0)} {
			_, _, err := v.Put(ctx, "f", strings.NewReader("content"), tree.PutOptions{Length: -1, Modified: modified},
				tree.Condition{})
			v.must(err)
		}
		v.wantTag("f", "content")
	})
}
