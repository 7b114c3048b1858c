package treetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The names of the source and the destination.
var (
	sources = map[string][]string{
		"nothing":      nil,
		"file":         {"s=new"},
		"collection":   {"s/", "s/a=1", "s/b/", "s/b/c=2", "s/b/e/"},
		"empty source": {"s/"},
	}
	destinations = map[string][]string{
		"nothing":    nil,
		"file":       {"t=old"},
		"collection": {"t/", "t/a=9", "t/y/", "t/y/z=8"},
	}
)

func testCopyMove(t *testing.T, b Backend) {
	for _, how := range []struct {
		name string
		move bool
		opts tree.CopyOptions
	}{
		{"move", true, tree.CopyOptions{}},
		{"move without overwriting", true, tree.CopyOptions{NoOverwrite: true}},
		{"copy", false, tree.CopyOptions{}},
		{"copy without overwriting", false, tree.CopyOptions{NoOverwrite: true}},
		{"copy without members", false, tree.CopyOptions{Shallow: true}},
	} {
		for from, source := range sources {
			for to, destination := range destinations {
				t.Run(fmt.Sprintf("%s %s over %s", how.name, from, to), func(t *testing.T) {
					f := open(t, b, "other=stays")
					f.lay(source...)
					f.lay(destination...)
					run := f.Copy
					if how.move {
						run = f.Move
					}
					var want error
					switch {
					case source == nil:
						want = tree.ErrNotExist
					case destination != nil && how.opts.NoOverwrite:
						want = tree.ErrExist
					}
					if want != nil {
						f.unchanged(how.name, func() {
							_, _, err := run(f.ctx, "s", "t", how.opts, tree.Condition{})
							f.wantErr(how.name, err, want)
						})
						return
					}
					s, created, err := run(f.ctx, "s", "t", how.opts, tree.Condition{})
					if err != nil || created != (destination == nil) {
						t.Fatalf("got created %v, error %v", created, err)
					}
					isFile := strings.Contains(source[0], "=")
					if s.Name != "t" || !s.Exists || s.Collection == isFile || isFile && s.Size != 3 {
						t.Errorf("got %+v", s)
					}
					left := []string{"other=stays"}
					if !how.move {
						left = append(left, source...)
					}
					for i, line := range source {
						if i == 0 || !how.opts.Shallow {
							left = append(left, "t"+strings.TrimPrefix(line, "s"))
						}
					}
					f.wantTree(left...)
				})
			}
		}
	}

	layout := []string{"f=1", "d/", "d/g=2", "d/e/", "d/e/h=3", "x/"}
	for _, test := range []struct {
		from, to string
		want     error
	}{
		{"f", "f", tree.ErrSame},
		{"d", "d", tree.ErrSame},
		{"", "", tree.ErrSame},
		{"d", "d/new", tree.ErrNested},
		{"d", "d/e", tree.ErrNested},
		{"d", "d/e/new", tree.ErrNested},
		{"d", "d/e/h", tree.ErrNested},
		{"d/e", "d", tree.ErrNested},
		{"d/e/h", "d", tree.ErrNested},
		{"d/e/h", "d/e", tree.ErrNested},
		{"", "new", tree.ErrNested},
		{"", "d", tree.ErrNested},
		{"d", "", tree.ErrNested},
		{"f", "", tree.ErrNested},
		{"f", "f/new", tree.ErrNested},
		{"f", "no/new", tree.ErrNoParent},
		{"d", "no/no/new", tree.ErrNoParent},
		{"d", "f/new", tree.ErrNoParent},
		{"no", "x", tree.ErrNotExist},
		{"no", "f", tree.ErrNotExist},
		{"no/no", "d", tree.ErrNotExist},
		{"f/no", "d", tree.ErrNotExist},
		{"no", "no", tree.ErrNotExist},
	} {
		t.Run(fmt.Sprintf("%q to %q", test.from, test.to), func(t *testing.T) {
			f := open(t, b, layout...)
			for _, opts := range []tree.CopyOptions{{}, {NoOverwrite: true}, {Shallow: true}} {
				f.unchanged("Copy", func() {
					_, _, err := f.Copy(f.ctx, test.from, test.to, opts, tree.Condition{})
					f.wantErr("Copy", err, test.want)
				})
				f.unchanged("Move", func() {
					_, _, err := f.Move(f.ctx, test.from, test.to, opts, tree.Condition{})
					f.wantErr("Move", err, test.want)
				})
			}
		})
	}
	t.Run("names that only begin alike are not nested", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1", "dd/", "dd/f=2")
		if _, _, err := f.Move(f.ctx, "d", "dd/d", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Error(err)
		}
		if _, _, err := f.Copy(f.ctx, "dd", "d", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Error(err)
		}
		f.wantTree("dd/", "dd/f=2", "dd/d/", "dd/d/f=1", "d/", "d/f=2", "d/d/", "d/d/f=1")
	})
	t.Run("the modification time that it gets", func(t *testing.T) {
		then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
		for _, source := range [][]string{{"s=new"}, {"s/", "s/a=1"}} {
			for _, over := range [][]string{nil, {"t=old"}, {"t/", "t/b=2"}} {
				for _, move := range []bool{false, true} {
					f := open(t, b, append(source, over...)...)
					before := f.stat("s", tree.WantTag)
					run := f.Copy
					if move {
						run = f.Move
					}
					s, _, err := run(f.ctx, "s", "t", tree.CopyOptions{Modified: then}, tree.Condition{})
					if err != nil || !s.Modified.Equal(then) || s.Tag != before.Tag {
						t.Errorf("move %v of %q over %q: got %+v, error %v", move, source, over, s, err)
					}
					if s := f.stat("t", tree.WantTag); !s.Modified.Equal(then) || s.Tag != before.Tag {
						t.Errorf("move %v of %q over %q: Stat says %+v", move, source, over, s)
					}
					if !move && !f.stat("s", 0).Modified.Equal(before.Modified) {
						t.Errorf("the copy of %q over %q has changed the source", source, over)
					}
				}
				if source[0] != "s/" {
					continue // its new content gets another date, see [tree.DateRange]
				}
				f := open(t, b, append(source, over...)...)
				if err := f.PatchProperties(f.ctx, "s", tree.Patch{Modified: then}, tree.Condition{}); err != nil {
					t.Fatal(err)
				}
				if _, _, err := f.Move(f.ctx, "s", "t", tree.CopyOptions{}, tree.Condition{}); err != nil || !f.stat("t", 0).Modified.Equal(then) {
					t.Errorf("a move of %q over %q has changed its time: %+v, error %v", source, over, f.stat("t", 0), err)
				}
			}
		}
	})
	t.Run("a copy is another resource", func(t *testing.T) {
		f := open(t, b, "f=1")
		if _, _, err := f.Copy(f.ctx, "f", "g", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		f.put("f", "2")
		f.wantTree("f=2", "g=1")
	})
	t.Run("a large collection", func(t *testing.T) {
		f := open(t, b, "d/")
		for i := range 130 {
			f.put(fmt.Sprintf("d/%d", i), fmt.Sprint(i))
		}
		if _, _, err := f.Copy(f.ctx, "d", "e", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.Move(f.ctx, "e", "d", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		want := []string{"d/"}
		for i := range 130 {
			want = append(want, fmt.Sprintf("d/%d=%d", i, i))
		}
		f.wantTree(want...)
	})
}
