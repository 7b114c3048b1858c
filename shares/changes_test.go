package shares_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// once calls do at the n-th call of a method for a name that is not reserved.
func once(method string, n int, do func()) func(string, string) error {
	return func(m, name string) error {
		if m == method && !strings.HasPrefix(name, ".") {
			if n--; n == 0 {
				do()
			}
		}
		return nil
	}
}

// TestSourceChangesDuringMove: no edit of the source between two calls is lost. Either it is moved too, or the source
// stays and the error says that it is at both names.
func TestSourceChangesDuringMove(t *testing.T) {
	edits := map[string]func(f *fixture) error{
		"a file is written": func(f *fixture) error { _, err := f.put("a/d/f", "edited"); return err },
		"a file is added":   func(f *fixture) error { _, err := f.put("a/d/s/added", "edited"); return err },
		"a file is removed": func(f *fixture) error { return f.Remove(f.t.Context(), "a/d/s/g", tree.Condition{}) },
		"a collection is added": func(f *fixture) error {
			_, err := f.Mkdir(f.t.Context(), "a/d/t", tree.MkdirOptions{}, tree.Condition{})
			return err
		},
		"a file becomes a collection": func(f *fixture) error {
			err := f.Remove(f.t.Context(), "a/d/f", tree.Condition{})
			if err == nil {
				_, err = f.Mkdir(f.t.Context(), "a/d/f", tree.MkdirOptions{}, tree.Condition{})
			}
			return err
		},
		"a property is set": func(f *fixture) error { f.patch("a/d/f", "edited"); return nil },
	}
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		for name, edit := range edits {
			for _, test := range []struct {
				when string
				on   func(f *fixture, do func())
			}{
				{"before the first file is read", func(f *fixture, do func()) { f.a.on = once("Open", 1, do) }},
				{"after the copy is made", func(f *fixture, do func()) { f.b.on = once("Move", 1, do) }},
				{"before the history is read", func(f *fixture, do func()) { f.a.on = once("Versions", 1, do) }},
				{"right before the removal", func(f *fixture, do func()) { f.a.on = once("Remove", 1, do) }},
			} {
				t.Run(name+" "+test.when, func(t *testing.T) {
					f := open(t, backend, "a/d/", "a/d/f=1", "a/d/s/", "a/d/s/g=2")
					var want []string // the source after the edit
					test.on(f, func() {
						f.a.on, f.b.on = nil, nil
						if err := edit(f); err != nil {
							t.Error(err)
						}
						want = sourceOf(f)
					})
					_, _, err := f.Move(t.Context(), "a/d", "b/d", tree.CopyOptions{}, tree.Condition{})
					if want == nil {
						t.Fatal("nothing was edited")
					}
					got := sourceOf(f)
					switch {
					case err == nil && got == nil: // all of it was moved
						for i := range want {
							want[i] = strings.Replace(want[i], "a/", "b/", 1)
						}
						if got := snapshotOf(f, "b/d"); !slices.Equal(got, want) {
							t.Errorf("it was moved as\n  %q\nwant\n  %q", got, want)
						}
					case errors.Is(err, tree.ErrUnsure) && name == "a property is set" && got == nil:
						t.Error("the property was lost")
					case errors.Is(err, tree.ErrUnsure):
						if !slices.Equal(got, want) {
							t.Errorf("the source is\n  %q\nwant\n  %q", got, want)
						}
					default:
						t.Errorf("got error %v, and the source is %q", err, got)
					}
				})
			}
		}
	})
}

// sourceOf returns all that is in a/d, with its properties.
func sourceOf(f *fixture) []string { return snapshotOf(f, "a/d") }

func snapshotOf(f *fixture, dir string) (lines []string) {
	for _, line := range treetest.Snapshot(f.t, f.Store) {
		if strings.HasPrefix(line, dir+"/") {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestSourceFileChangesDuringMove is the same of a file.
func TestSourceFileChangesDuringMove(t *testing.T) {
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		for _, layout := range [][]string{{"a/f=1"}, {"a/f=1", "b/g=2"}} {
			for _, method := range []string{"Put", "Move", "Remove"} {
				for name, edit := range map[string]func(f *fixture) error{
					"written": func(f *fixture) error { _, err := f.put("a/f", "edited"); return err },
					"patched": func(f *fixture) error { f.patch("a/f", "edited"); return nil },
					"replaced": func(f *fixture) error {
						return errors.Join(f.Remove(f.t.Context(), "a/f", tree.Condition{}), mkdir(f, "a/f"))
					},
					"removed": func(f *fixture) error { return f.Remove(f.t.Context(), "a/f", tree.Condition{}) },
					"locked": func(f *fixture) error {
						_, _, err := f.Lock(f.t.Context(), tree.LockRequest{Root: "a/f", Timeout: time.Hour}, tree.Condition{})
						return err
					},
				} {
					t.Run(fmt.Sprintf("%s before %s, over something: %v", name, method, len(layout) > 1), func(t *testing.T) {
						f := open(t, backend, layout...)
						edited, where := false, f.b
						if method == "Remove" {
							where = f.a
						}
						where.on = once(method, 1, func() {
							f.a.on, f.b.on = nil, nil
							edited = true
							if err := edit(f); err != nil {
								t.Error(err)
							}
						})
						unlocked := tree.Condition{Names: []string{"a/f"}, Check: func(v tree.View) error {
							locks, err := v.Locks("a/f")
							if err == nil && len(locks) > 0 {
								err = &tree.LockedError{Name: "a/f", Lock: locks[0]}
							}
							return err
						}}
						_, _, err := f.Move(t.Context(), "a/f", "b/g", tree.CopyOptions{}, unlocked)
						if !edited {
							return // this copy takes no such step
						}
						source, _ := f.Stat(t.Context(), "a/f", tree.ReadOptions{Want: tree.WantTag})
						dest, _ := f.Stat(t.Context(), "b/g", tree.ReadOptions{Want: tree.WantTag})
						isNew := name == "written" && source.Tag != treetest.TagOf("edited") && dest.Tag != treetest.TagOf("edited")
						switch {
						case isNew:
							t.Errorf("error %v, and the edit is lost: %+v, %+v", err, source, dest)
						case err == nil && source.Exists:
							t.Errorf("it was moved, and the source is %+v", source)
						case err != nil && name != "removed" && !source.Exists:
							t.Errorf("error %v, and the source is gone", err)
						case method == "Remove" && !errors.Is(err, tree.ErrUnsure):
							t.Errorf("got error %v after the copy was made", err)
						}
					})
				}
			}
		}
	})
}

func mkdir(f *fixture, name string) error {
	_, err := f.Mkdir(f.t.Context(), name, tree.MkdirOptions{}, tree.Condition{})
	return err
}
