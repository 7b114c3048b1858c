package etagfs

import (
	"context"
	"errors"
	"testing"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// What is only hashed for a request is given up where the request says so: an answer can do without, a condition
// cannot, and the next one who asks is not concerned.
func TestAbandonedHashes(t *testing.T) {
	files := afero.NewMemMapFs()
	if err := afero.WriteFile(files, "cold", []byte("content"), 0o666); err != nil {
		t.Fatal(err)
	}
	below, err := fs.OpenAfero(files, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(below, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	abandoned := tree.WithHashContext(t.Context(), func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx, cancel
	})
	needsTag := func(v tree.View) error {
		state, err := v.State("cold")
		if err == nil && state.Tag == "" {
			err = tree.ErrTagUnknown
		}
		return err
	}
	if err := s.Try(abandoned, treetest.If(needsTag)); !errors.Is(err, context.Canceled) {
		t.Errorf("a condition that needs the tag: %v", err)
	}
	if err := s.Remove(abandoned, "cold", treetest.If(needsTag)); !errors.Is(err, context.Canceled) {
		t.Errorf("a commit with that condition: %v", err)
	}
	if state, err := s.Stat(abandoned, "cold", tree.ReadOptions{Want: tree.WantTag}); err != nil || !state.Exists ||
		state.Tag != "" {
		t.Errorf("an answer: %+v, %v", state, err)
	}
	content, state, err := s.Open(abandoned, "cold", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
	if err != nil || state.Tag != "" {
		t.Fatalf("a download: %+v, %v", state, err)
	}
	content.Close()
	if _, _, err := s.Copy(abandoned, "cold", "copy", tree.CopyOptions{}, tree.Condition{}); err != nil {
		t.Errorf("what needs no hash: %v", err)
	}
	if err := s.Try(t.Context(), treetest.If(needsTag)); err != nil {
		t.Errorf("and another one: %v", err)
	}
}
