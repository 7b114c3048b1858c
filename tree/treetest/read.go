package treetest

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func testRead(t *testing.T, b Backend) {
	f := open(t, b, "f=one", "d/", "d/g=two", "d/e/", "d/e/h=three")
	t.Run("nothing is there", func(t *testing.T) {
		for _, name := range []string{"no", "no/no", "f/x", "f/x/y", "d/no"} {
			_, err := f.Stat(f.ctx, name, tree.ReadOptions{Want: tree.WantTag | tree.WantProperties | tree.WantLocks})
			f.wantErr(fmt.Sprintf("Stat(%q)", name), err, tree.ErrNotExist)
			_, _, err = f.Open(f.ctx, name, tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
			f.wantErr(fmt.Sprintf("Open(%q)", name), err, tree.ErrNotExist)
			f.wantErr(fmt.Sprintf("List(%q)", name), listErr(f, name, tree.ListOptions{}, tree.Condition{}), tree.ErrNotExist)
		}
	})
	t.Run("the root", func(t *testing.T) {
		if s := f.stat("", tree.WantTag); s.Name != "" || !s.Exists || !s.Collection || s.Tag != "" || s.Size != 0 {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("a collection cannot be opened", func(t *testing.T) {
		for _, name := range []string{"", "d", "d/e"} {
			_, _, err := f.Open(f.ctx, name, tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
			f.wantErr(fmt.Sprintf("Open(%q)", name), err, tree.ErrIsCollection)
		}
	})
	t.Run("a file is listed alone", func(t *testing.T) {
		for _, depth := range []int{0, 1, -1} {
			f.wantList("f", tree.ListOptions{Depth: depth, Limit: 1}, "f")
		}
	})
	t.Run("a listing has the members and nothing else", func(t *testing.T) {
		f.wantTree("f=one", "d/", "d/g=two", "d/e/", "d/e/h=three")
		f := open(t, b, "d/")
		for range Members(f.ctx, f, "d", 0) {
			t.Error("an empty collection has a member")
		}
	})
	t.Run("a listing has only what is wanted", func(t *testing.T) {
		for s, err := range Members(f.ctx, f, "", 0) {
			if err != nil || s.Properties != nil || s.Locks != nil {
				t.Errorf("got %+v, error %v", s, err)
			}
		}
	})
	t.Run("a listing goes as deep as it is asked to, each collection before its members", func(t *testing.T) {
		f.wantList("", tree.ListOptions{}, "")
		f.wantList("", tree.ListOptions{Depth: 1}, "", "d", "f")
		f.wantList("", tree.ListOptions{Depth: -1}, "", "d", "d/e", "d/e/h", "d/g", "f")
		f.wantList("d", tree.ListOptions{Depth: 1, Limit: 2}, "d", "d/e", "d/g")
		f.wantList("d", tree.ListOptions{Depth: -1, Limit: 3}, "d", "d/e", "d/e/h", "d/g")
	})
	t.Run("what has too many members is not listed", func(t *testing.T) {
		for _, opts := range []tree.ListOptions{{Depth: 1, Limit: 1}, {Depth: -1, Limit: 2}} {
			f.wantErr(fmt.Sprintf("%+v", opts), listErr(f, "d", opts, tree.Condition{}), tree.ErrTooMany)
		}
		f.wantList("d", tree.ListOptions{Limit: 1}, "d")
	})
	t.Run("a condition is asked about what is read", func(t *testing.T) {
		one, other := IfTag("f", TagOf("one")), IfTag("f", TagOf("other"))
		f.wantErr("List", listErr(f, "f", tree.ListOptions{}, other), errStale)
		f.wantErr("List of a collection, and a false condition on a file", listErr(f, "d", tree.ListOptions{Depth: 1}, other), errStale)
		for s, err := range f.List(f.ctx, "f", tree.ListOptions{}, one) {
			if err != nil || s.Name != "f" {
				t.Errorf("List: got %+v, error %v", s, err)
			}
		}
		_, _, err := f.Open(f.ctx, "f", tree.ReadOptions{Want: tree.WantTag}, other)
		f.wantErr("Open", err, errStale)
		content, s, err := f.Open(f.ctx, "f", tree.ReadOptions{Want: tree.WantTag}, one)
		f.wantErr("Open, and a true condition", err, nil)
		if err == nil && (content.Close() != nil || s.Tag != TagOf("one")) {
			t.Errorf("Open: got %+v", s)
		}
		_, _, err = f.Open(f.ctx, "no", tree.ReadOptions{}, If(func(tree.View) error { return errStale }))
		f.wantErr("Open of nothing, and a false condition", err, tree.ErrNotExist)
	})
	t.Run("a listing can be left early", func(t *testing.T) {
		for range Members(f.ctx, f, "", tree.WantTag) {
			break
		}
	})
	t.Run("a long listing", func(t *testing.T) {
		f := open(t, b, "d/")
		want := []string{"d/"}
		for i := range 150 {
			want = append(want, fmt.Sprintf("d/%03d=", i))
		}
		f.lay(want[1:]...)
		f.wantTree(want...)
		// Whatever is removed meanwhile, all other members are listed once.
		left := map[string]int{}
		for s, err := range Members(f.ctx, f, "d", 0) {
			if err != nil {
				t.Errorf("%q: %v", s.Name, err)
			}
			left[s.Name]++
			if len(left) == 1 {
				for i := range 75 {
					if err := f.Remove(f.ctx, fmt.Sprintf("d/%03d", 2*i), tree.Condition{}); err != nil {
						t.Error(err)
					}
				}
			}
		}
		for i := range 75 {
			if name := fmt.Sprintf("d/%03d", 2*i+1); left[name] != 1 {
				t.Errorf("%q was listed %d times", name, left[name])
			}
		}
	})
	t.Run("parts of the content can be sent, and read", func(t *testing.T) {
		content, _, err := f.Open(f.ctx, "d/e/h", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		for _, part := range []struct {
			offset, length int64
			want           string
		}{{0, 5, "three"}, {3, 2, "ee"}, {1, 3, "hre"}, {0, 0, ""}, {5, 0, ""}} {
			var sent strings.Builder
			n, err := content.WriteRange(f.ctx, &sent, part.offset, part.length)
			if sent.String() != part.want || n != part.length || err != nil {
				t.Errorf("%d bytes from %d: got %q, error %v", part.length, part.offset, sent.String(), err)
			}
			p := make([]byte, part.length)
			if n, err := content.ReadAt(p, part.offset); string(p[:n]) != part.want || err != nil && err != io.EOF {
				t.Errorf("%d bytes read at %d: got %q, error %v", part.length, part.offset, p[:n], err)
			}
		}
	})
}

// listErr returns the only error of a listing.
func listErr(f *fixture, name string, opts tree.ListOptions, cond tree.Condition) (ended error) {
	for s, err := range f.List(f.ctx, name, opts, cond) {
		if err != nil && s.Name == "" {
			ended = err
		} else {
			f.t.Errorf("List(%q) yields %+v, error %v", name, s, err)
		}
	}
	return ended
}

// wantList asserts the names in a listing. Members of one collection may be in any order.
func (f *fixture) wantList(dir string, opts tree.ListOptions, want ...string) {
	f.t.Helper()
	var got []string
	listed := map[string]bool{}
	for s, err := range f.List(f.ctx, dir, opts, tree.Condition{}) {
		if parent, _ := tree.Split(s.Name); err != nil || s.Name != dir && !listed[parent] {
			f.t.Errorf("List(%q, %+v) yields %q too early, or with error %v", dir, opts, s.Name, err)
		}
		listed[s.Name] = true
		got = append(got, s.Name)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		f.t.Errorf("List(%q, %+v) yields %q, want %q", dir, opts, got, want)
	}
}

func testTag(t *testing.T, b Backend) {
	f := open(t, b, "d/")
	tag := TagOf("content")
	want := func(where string, got tree.ETag) {
		t.Helper()
		if got != tag {
			t.Errorf("%s: got tag %s, want %s", where, got, tag)
		}
	}
	want("Put", f.put("f", "content").Tag)
	want("Put under another name", f.put("d/g", "content").Tag)
	want("Stat", f.stat("f", tree.WantTag).Tag)
	for s, err := range Members(f.ctx, f, "d", tree.WantTag) {
		if err != nil {
			t.Error(err)
		}
		want("List", s.Tag)
	}
	_, s := read(t, f.Store, "f")
	want("Open", s.Tag)
	s, _, err := f.Copy(f.ctx, "f", "copy", tree.CopyOptions{}, tree.Condition{})
	f.wantErr("Copy", err, nil)
	want("Copy", s.Tag)
	want("Stat of the copy", f.stat("copy", tree.WantTag).Tag)
	s, _, err = f.Move(f.ctx, "copy", "moved", tree.CopyOptions{}, tree.Condition{})
	f.wantErr("Move", err, nil)
	if s.Tag == "" {
		t.Log("Move does not know the tag yet")
	} else {
		want("Move", s.Tag)
	}
	want("Stat of what was moved", f.stat("moved", tree.WantTag).Tag)
	if _, _, err := f.Copy(f.ctx, "d", "e", tree.CopyOptions{}, tree.Condition{}); err != nil {
		t.Error(err)
	}
	want("Stat in a copied collection", f.stat("e/g", tree.WantTag).Tag)
	if s := f.stat("d", tree.WantTag); s.Tag != "" {
		t.Errorf("a collection has the tag %s", s.Tag)
	}
	f.patch("f", set("p", "v"))
	want("Stat after a property was set", f.stat("f", tree.WantTag).Tag)
	f.lock(tree.LockRequest{Root: "f"})
	want("Stat after a lock was taken", f.stat("f", tree.WantTag).Tag)
	if s, _, err := f.Put(f.ctx, "f", strings.NewReader("content"), tree.PutOptions{Length: -1, Modified: time.Unix(1, 0)}, tree.Condition{}); err != nil {
		t.Error(err)
	} else {
		want("Put with another time", s.Tag)
	}
	if got := f.put("f", "Content").Tag; got == tag {
		t.Error("other content has the same tag")
	}
}

func testContent(t *testing.T, b Backend) {
	for _, test := range []struct {
		name string
		do   func(f *fixture) error
	}{
		{"Put", func(f *fixture) error { _, _, err := f.tryPut("d/f", "new", tree.Condition{}); return err }},
		{"Remove", func(f *fixture) error { return f.Remove(f.ctx, "d/f", tree.Condition{}) }},
		{"Remove of its collection", func(f *fixture) error { return f.Remove(f.ctx, "d", tree.Condition{}) }},
		{"Move", func(f *fixture) error {
			_, _, err := f.Move(f.ctx, "d/f", "moved", tree.CopyOptions{}, tree.Condition{})
			return err
		}},
		{"Move over it", func(f *fixture) error {
			_, _, err := f.Move(f.ctx, "g", "d/f", tree.CopyOptions{}, tree.Condition{})
			return err
		}},
		{"Copy over its collection", func(f *fixture) error {
			_, _, err := f.Copy(f.ctx, "g", "d", tree.CopyOptions{}, tree.Condition{})
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := open(t, b, "d/", "d/f=the old version", "g=other")
			content, state, err := f.Open(f.ctx, "d/f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
			if err != nil {
				t.Fatal(err)
			}
			defer content.Close()
			f.wantErr(test.name, test.do(f), nil)
			for range 2 {
				if got, err := ReadAll(content, state); got != "the old version" || err != nil || state.Tag != TagOf(got) {
					t.Errorf("got %q, error %v", got, err)
				}
			}
		})
	}
}
