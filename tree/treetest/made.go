package treetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// testMade: [tree.Condition.Made] is called by each write that has made its change, and by no other call. It finds the
// version of the last Check replaced by no other write.
func testMade(t *testing.T, b Backend) {
	refused := errors.New("refused")
	s := open(t, b).Store
	made, asked := 0, 0
	var fails error
	cond := tree.Condition{
		Check: func(v tree.View) error {
			if tree.Committing(v) {
				asked++
			}
			return fails
		},
		Made: func() { made++ },
	}
	var id string
	writes := []struct {
		name string
		do   func() error
	}{
		{"Mkdir", func() error { _, err := s.Mkdir(t.Context(), "d", tree.MkdirOptions{}, cond); return err }},
		{"Put", func() error {
			_, _, err := s.Put(t.Context(), "d/f", strings.NewReader("1"), tree.PutOptions{Length: -1}, cond)
			return err
		}},
		{"Put over a file", func() error {
			_, _, err := s.Put(t.Context(), "d/f", strings.NewReader("22"), tree.PutOptions{Length: -1}, cond)
			return err
		}},
		{"Copy", func() error { _, _, err := s.Copy(t.Context(), "d", "e", tree.CopyOptions{}, cond); return err }},
		{"Move", func() error { _, _, err := s.Move(t.Context(), "e", "m", tree.CopyOptions{}, cond); return err }},
		{"Move over", func() error { _, _, err := s.Move(t.Context(), "m", "d", tree.CopyOptions{}, cond); return err }},
		{"Lock", func() error {
			l, _, err := s.Lock(t.Context(), tree.LockRequest{Root: "l", Timeout: time.Hour}, cond)
			id = l.Token
			return err
		}},
		{"Unlock", func() error { return s.Unlock(t.Context(), "l", id, cond) }},
		{"Remove", func() error { return s.Remove(t.Context(), "d", cond) }},
	}
	for _, w := range writes {
		made, fails = 0, refused
		if err := w.do(); !errors.Is(err, refused) || made != 0 {
			t.Errorf("%s, refused: got %v, and Made was called %d times", w.name, err, made)
		}
		made, asked, fails = 0, 0, nil
		if err := w.do(); err != nil || made != 1 || asked == 0 {
			t.Errorf("%s: got %v, Made was called %d times, and %d Checks were inside a commit; want 1 and some",
				w.name, err, made, asked)
		}
	}
	made = 0
	if err := s.Try(t.Context(), cond); err != nil || made != 0 {
		t.Errorf("Try: got %v, and Made was called %d times", err, made)
	}
	for _, err := range s.List(t.Context(), "", tree.ListOptions{Depth: 1}, cond) {
		if err != nil || made != 0 {
			t.Errorf("List: got %v, and Made was called %d times", err, made)
		}
	}
}
