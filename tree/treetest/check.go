package treetest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An op is a change to the layout of testCheck.
type op struct {
	name string
	do   func(f *fixture, check tree.Condition) error
}

func changes(token string) []op {
	return []op{
		{"put new", func(f *fixture, c tree.Condition) error { _, _, err := f.tryPut("new", "n", c); return err }},
		{"put over", func(f *fixture, c tree.Condition) error { _, _, err := f.tryPut("f", "n", c); return err }},
		{"mkdir", func(f *fixture, c tree.Condition) error {
			_, err := f.Mkdir(f.ctx, "new", tree.MkdirOptions{}, c)
			return err
		}},
		{"remove a file", func(f *fixture, c tree.Condition) error { return f.Remove(f.ctx, "f", c) }},
		{"remove a collection", func(f *fixture, c tree.Condition) error { return f.Remove(f.ctx, "d", c) }},
		{"move a file", func(f *fixture, c tree.Condition) error {
			_, _, err := f.Move(f.ctx, "f", "new", tree.CopyOptions{}, c)
			return err
		}},
		{"move a file over a collection", func(f *fixture, c tree.Condition) error {
			_, _, err := f.Move(f.ctx, "f", "d", tree.CopyOptions{}, c)
			return err
		}},
		{"move a collection over a file", func(f *fixture, c tree.Condition) error {
			_, _, err := f.Move(f.ctx, "d", "f", tree.CopyOptions{}, c)
			return err
		}},
		{"copy a file", func(f *fixture, c tree.Condition) error {
			_, _, err := f.Copy(f.ctx, "f", "new", tree.CopyOptions{}, c)
			return err
		}},
		{"copy a collection over a file", func(f *fixture, c tree.Condition) error {
			_, _, err := f.Copy(f.ctx, "d", "f", tree.CopyOptions{}, c)
			return err
		}},
		{"lock", func(f *fixture, c tree.Condition) error {
			_, _, err := f.Lock(f.ctx, tree.LockRequest{Root: "d/g", Timeout: time.Hour}, c)
			return err
		}},
		{"lock nothing", func(f *fixture, c tree.Condition) error {
			_, _, err := f.Lock(f.ctx, tree.LockRequest{Root: "new", Timeout: time.Hour}, c)
			return err
		}},
		{"refresh", func(f *fixture, c tree.Condition) error {
			_, err := f.Refresh(f.ctx, "f", []string{token}, 2*time.Hour, c)
			return err
		}},
		{"patch properties", func(f *fixture, c tree.Condition) error {
			return f.PatchProperties(f.ctx, "f", tree.Patch{Properties: []webdav.Proppatch{set("p", "v")}}, c)
		}},
	}
}

func testCheck(t *testing.T, b Backend) {
	layout := []string{"f=old", "d/", "d/g=other"}
	for i, change := range changes("") {
		t.Run(change.name, func(t *testing.T) {
			f := open(t, b, layout...)
			locked := f.lock(tree.LockRequest{Root: "f"})
			do := changes(locked.Token)[i].do
			refusals := []error{
				errors.New("refused"),
				fmt.Errorf("refused: %w", tree.ErrNotExist),
				fmt.Errorf("refused: %w", tree.ErrExist),
				fmt.Errorf("refused: %w", syscall.ENOTDIR),
				fmt.Errorf("refused: %w", errors.ErrUnsupported),
			}
			for _, refused := range refusals {
				f.unchanged(change.name, func() {
					if err := do(f, If(func(tree.View) error { return refused })); err != refused {
						t.Errorf("got error %v, want %v as it is", err, refused)
					}
				})
			}
			f.unchanged(change.name, func() {
				err := do(f, If(func(tree.View) error { return tree.ErrTagUnknown }))
				if err == nil || errors.Is(err, tree.ErrTagUnknown) {
					t.Errorf("with a tag that never becomes known: got error %v", err)
				}
			})
			f.unchanged(change.name, func() {
				f.wantErr("with a stale tag", do(f, IfTag("f", TagOf("another"))), errStale)
			})
			asked := 0
			err := do(f, If(func(v tree.View) error {
				asked++
				return IfTag("f", TagOf("old")).Ask(v)
			}, "f"))
			if b.NoProperties != "" && change.name == "patch properties" {
				t.Log(b.NoProperties)
				f.wantErr(change.name, err, tree.ErrUnsupported)
			} else if err != nil || asked == 0 {
				t.Errorf("with the tag that is there, asked %d times: %v", asked, err)
			}
		})
	}
	t.Run("it is asked after the body was read", func(t *testing.T) {
		f := open(t, b, "f=old")
		body := io.MultiReader(strings.NewReader("mine"), readerFunc(func() {
			if _, _, err := f.tryPut("f", "theirs", IfTag("f", TagOf("old"))); err != nil {
				t.Error(err)
			}
		}))
		_, _, err := f.Put(f.ctx, "f", body, tree.PutOptions{Length: -1}, IfTag("f", TagOf("old")))
		f.wantErr("Put", err, errStale)
		f.wantTree("f=theirs")
	})
	t.Run("it sees what is there", func(t *testing.T) {
		f := open(t, b, "f=old", "d/", "d/g=other")
		err := f.Try(f.ctx, If(func(v tree.View) error {
			for _, name := range []string{"no", "no/no", "f/x"} {
				if s, err := v.State(name); err != nil || s.Exists || s.Name != name || s.Tag != "" {
					t.Errorf("State(%q) = %+v, error %v", name, s, err)
				}
			}
			for _, name := range []string{"", "d"} {
				if s, err := v.State(name); err != nil || !s.Exists || !s.Collection || s.Tag != "" {
					t.Errorf("State(%q) = %+v, error %v", name, s, err)
				}
			}
			s, err := v.State("d/g")
			if err != nil || !s.Exists || s.Collection || s.Size != 5 || s.Modified.IsZero() {
				t.Errorf("State of a file = %+v, error %v", s, err)
			}
			return nil
		}, "no/no", "f/x", "d/g"))
		f.wantErr("Try", err, nil)
	})
	t.Run("it may name several files", func(t *testing.T) {
		f := open(t, b, "f=1", "g=2", "h=3")
		_, _, err := f.tryPut("new", "n", If(func(v tree.View) error {
			return errors.Join(IfTag("f", TagOf("1")).Ask(v), IfTag("g", TagOf("2")).Ask(v), IfTag("h", TagOf("3")).Ask(v))
		}, "f", "g", "h"))
		f.wantErr("Put", err, nil)
	})
	t.Run("Try", func(t *testing.T) {
		f := open(t, b, "f=old")
		f.unchanged("Try", func() {
			f.wantErr("true", f.Try(f.ctx, IfTag("f", TagOf("old"))), nil)
			f.wantErr("false", f.Try(f.ctx, IfTag("f", TagOf("new"))), errStale)
			f.wantErr("none", f.Try(f.ctx, tree.Condition{}), nil)
			refused := fmt.Errorf("refused: %w", syscall.ENOSPC)
			if err := f.Try(f.ctx, If(func(tree.View) error { return refused })); err != refused {
				t.Errorf("got error %v, want %v as it is", err, refused)
			}
			err := f.Try(f.ctx, If(func(tree.View) error { return tree.ErrTagUnknown }))
			if err == nil || errors.Is(err, tree.ErrTagUnknown) {
				t.Errorf("with a tag that never becomes known: got error %v", err)
			}
		})
	})
}

// A readerFunc is an empty body whose first read calls a function.
type readerFunc func()

func (r readerFunc) Read([]byte) (int, error) {
	r()
	return 0, io.EOF
}
