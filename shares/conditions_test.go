package shares_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

var errStale = errors.New("the version is another")

// tags returns a condition that some resources have some tags ("": are not there).
func tags(want map[string]string) tree.Condition {
	cond := tree.Condition{Exact: true}
	for name := range want {
		cond.Names = append(cond.Names, name)
	}
	slices.Sort(cond.Names)
	cond.Check = func(v tree.View) error {
		for _, name := range cond.Names {
			s, err := v.State(name)
			switch content := want[name]; {
			case err != nil:
				return err
			case s.Name != name:
				return fmt.Errorf("%q is told as %+v", name, s)
			case s.Exists != (content != ""):
				return errStale
			case content == "":
			case s.Tag == "":
				return tree.ErrTagUnknown
			case s.Tag != treetest.TagOf(content):
				return errStale
			}
		}
		return nil
	}
	return cond
}

// TestConditionsOfSeveralShares: every write decides its whole condition, whichever shares it is about.
func TestConditionsOfSeveralShares(t *testing.T) {
	ctx := t.Context()
	operations := map[string]func(f *fixture, cond tree.Condition) error{
		"Try": func(f *fixture, cond tree.Condition) error { return f.Try(ctx, cond) },
		"Put": func(f *fixture, cond tree.Condition) error {
			_, _, err := f.Put(ctx, "a/f", strings.NewReader("new"), tree.PutOptions{Length: 3}, cond)
			return err
		},
		"Mkdir": func(f *fixture, cond tree.Condition) error {
			_, err := f.Mkdir(ctx, "a/new", tree.MkdirOptions{}, cond)
			return err
		},
		"Remove": func(f *fixture, cond tree.Condition) error { return f.Remove(ctx, "a/f", cond) },
		"Copy": func(f *fixture, cond tree.Condition) error {
			_, _, err := f.Copy(ctx, "a/f", "b/g", tree.CopyOptions{}, cond)
			return err
		},
		"Copy to a new name": func(f *fixture, cond tree.Condition) error {
			_, _, err := f.Copy(ctx, "a/f", "b/new", tree.CopyOptions{}, cond)
			return err
		},
		"Move": func(f *fixture, cond tree.Condition) error {
			_, _, err := f.Move(ctx, "a/f", "b/g", tree.CopyOptions{}, cond)
			return err
		},
		"Move to a new name": func(f *fixture, cond tree.Condition) error {
			_, _, err := f.Move(ctx, "a/f", "b/new", tree.CopyOptions{}, cond)
			return err
		},
		"Move of a collection": func(f *fixture, cond tree.Condition) error {
			_, _, err := f.Move(ctx, "a/d", "b/g", tree.CopyOptions{}, cond)
			return err
		},
		"Move in a share": func(f *fixture, cond tree.Condition) error {
			_, _, err := f.Move(ctx, "a/f", "a/new", tree.CopyOptions{}, cond)
			return err
		},
		"PatchProperties": func(f *fixture, cond tree.Condition) error {
			return f.PatchProperties(ctx, "a/f", tree.Patch{Modified: time.Unix(1, 0)}, cond)
		},
		"Lock": func(f *fixture, cond tree.Condition) error {
			_, _, err := f.Lock(ctx, tree.LockRequest{Root: "a/f", Timeout: time.Minute}, cond)
			return err
		},
		"Open": func(f *fixture, cond tree.Condition) error {
			content, _, err := f.Open(ctx, "a/f", tree.ReadOptions{}, cond)
			if err == nil {
				content.Close()
			}
			return err
		},
		"List": func(f *fixture, cond tree.Condition) error {
			for _, err := range f.List(ctx, "a", tree.ListOptions{Depth: 1}, cond) {
				return err
			}
			return nil
		},
		"List of the shares": func(f *fixture, cond tree.Condition) error {
			for _, err := range f.List(ctx, "", tree.ListOptions{Depth: 1}, cond) {
				return err
			}
			return nil
		},
	}
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		for name, do := range operations {
			for _, test := range []struct {
				name string
				is   map[string]string
				want error
			}{
				{"all are true", map[string]string{"a/f": "1", "b/g": "2", "c/h": "3", "c/none": "", "none": ""}, nil},
				{"of the source", map[string]string{"a/f": "x", "b/g": "2"}, errStale},
				{"of the destination", map[string]string{"a/f": "1", "b/g": "x"}, errStale},
				{"of a third share", map[string]string{"a/f": "1", "c/h": "x"}, errStale},
				{"of a name that is free", map[string]string{"c/none": "x"}, errStale},
				{"of a reserved name", map[string]string{"c/.ifmatch-copy-x/x": ""}, tree.ErrReserved},
			} {
				t.Run(name+", "+test.name, func(t *testing.T) {
					f := open(t, backend, "a/f=1", "a/d/", "a/d/f=1", "b/g=2", "c/h=3")
					before := treetest.Snapshot(t, f.Store)
					err := do(f, tags(test.is))
					if !errors.Is(err, test.want) {
						t.Errorf("got error %v, want %v", err, test.want)
					}
					if after := treetest.Snapshot(t, f.Store); test.want != nil && !slices.Equal(before, after) {
						t.Errorf("it has changed\n  %q\nto\n  %q", before, after)
					}
				})
			}
		}
	})
}

// A body can take long. The other shares are asked when it has been read, and not before.
func TestPutAsksOtherSharesAfterItsBody(t *testing.T) {
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		f := open(t, backend, "a/f=1", "b/g=2")
		body := io.MultiReader(strings.NewReader("new"), readerFunc(func([]byte) (int, error) {
			if _, err := f.put("b/g", "changed"); err != nil {
				t.Error(err)
			}
			return 0, io.EOF
		}))
		_, _, err := f.Put(t.Context(), "a/f", body, tree.PutOptions{Length: -1}, tags(map[string]string{"b/g": "2"}))
		if !errors.Is(err, errStale) {
			t.Errorf("got error %v", err)
		}
		f.wantTree("a/f=1", "b/g=changed")
	})
}

// The other shares are asked anew about all names, also about those that did not decide before the body.
func TestPutAsksOtherSharesAboutAllNames(t *testing.T) {
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		for _, edited := range [][]string{{"b/g"}, {"c/h"}, {"b/g", "c/h"}} {
			f := open(t, backend, "a/f=1", "b/g=2", "c/h=3")
			body := io.MultiReader(strings.NewReader("new"), readerFunc(func([]byte) (int, error) {
				for _, name := range edited {
					if _, err := f.put(name, "changed"); err != nil {
						t.Error(err)
					}
				}
				return 0, io.EOF
			}))
			either := tree.Condition{Names: []string{"a/f", "b/g", "c/h"}, Check: func(v tree.View) error {
				err := tags(map[string]string{"c/h": "3"}).Ask(v)
				if errors.Is(err, errStale) {
					err = tags(map[string]string{"b/g": "2"}).Ask(v)
				}
				return err
			}}
			_, _, err := f.Put(t.Context(), "a/f", body, tree.PutOptions{Length: -1}, either)
			switch {
			case len(edited) == 2 && !errors.Is(err, errStale) && !errors.Is(err, tree.ErrBusy):
				t.Errorf("%q: got error %v", edited, err)
			case len(edited) == 1 && err != nil && !errors.Is(err, tree.ErrBusy): // a tag that was not needed before
				t.Errorf("%q: got error %v", edited, err)
			}
		}
	})
}

type readerFunc func([]byte) (int, error)

func (r readerFunc) Read(p []byte) (int, error) { return r(p) }
