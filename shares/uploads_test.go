package shares_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/shares"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
)

// memory returns a store in memory that takes uploads in parts.
func memory(t *testing.T) *etagfs.Store {
	t.Helper()
	below, err := fs.OpenAfero(afero.NewMemMapFs(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := etagfs.New(below, etagfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestUploadsOfShares: an upload is of the share of its name, and its condition may be about another share.
func TestUploadsOfShares(t *testing.T) {
	ctx := t.Context()
	a, b := memory(t), memory(t)
	s := two(t, shares.Share{Path: "a", Store: a}, shares.Share{Path: "team/b", Store: b})
	begin := func(name string) (tree.Upload, error) {
		return s.NewUpload(ctx, name, tree.UploadOptions{Length: 5, Expires: time.Now().Add(time.Hour)}, tree.Condition{})
	}
	for name, want := range map[string]error{
		"": tree.ErrIsCollection, "a": tree.ErrIsCollection, "team": tree.ErrIsCollection, "none/f": tree.ErrNoParent,
	} {
		if _, err := begin(name); !errors.Is(err, want) {
			t.Errorf("an upload to %q: %v, want %v", name, err, want)
		}
	}
	for _, at := range []struct {
		name, inner string
		store       *etagfs.Store
	}{{"a/f", "f", a}, {"team/b/f", "f", b}} {
		u, err := begin(at.name)
		if err != nil {
			t.Fatal(err)
		}
		id := u.State().ID
		if err := errors.Join(u.Append(ctx, strings.NewReader("he"), tree.AppendOptions{}), u.Close()); err != nil {
			t.Fatal(err)
		}
		if u, err = s.OpenUpload(ctx, id); err != nil {
			t.Fatal(err)
		}
		if now := u.State(); now.Name != at.name || now.Offset != 2 || now.ID != id {
			t.Errorf("the upload is %+v", now)
		}
		if err := u.Append(ctx, strings.NewReader("llo"), tree.AppendOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := u.Put(ctx, "a/elsewhere/f", tree.PutOptions{}, tree.Condition{}); err == nil {
			t.Error("it can be put elsewhere")
		}
		other := tree.Condition{Names: []string{"a/there", "team/b/there"}, Check: func(v tree.View) error {
			for _, name := range []string{"a/there", "team/b/there"} {
				if s, err := v.State(name); err != nil || !s.Exists {
					return errors.Join(err, tree.ErrExist)
				}
			}
			return nil
		}}
		if _, _, err := u.Put(ctx, at.name, tree.PutOptions{}, other); !errors.Is(err, tree.ErrExist) {
			t.Errorf("under a condition about both shares: %v", err)
		}
		for _, share := range []*etagfs.Store{a, b} {
			if _, _, err := share.Put(ctx, "there", strings.NewReader(""), tree.PutOptions{}, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		state, created, err := u.Put(ctx, at.name, tree.PutOptions{}, other)
		if err != nil || !created || state.Name != at.name {
			t.Errorf("Put: %+v, %v, %v", state, created, err)
		}
		if now, err := at.store.Stat(context.WithoutCancel(ctx), at.inner, tree.ReadOptions{}); err != nil || now.Size != 5 {
			t.Errorf("in the share: %+v, %v", now, err)
		}
		for _, share := range []*etagfs.Store{a, b} {
			if err := share.Remove(ctx, "there", tree.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", "x", "x-y", strings.Repeat("0", 12) + "-X"} {
		if _, err := s.OpenUpload(ctx, id); !errors.Is(err, tree.ErrNotExist) {
			t.Errorf("the upload %q: %v", id, err)
		}
	}
	plain := two(t, shares.Share{Path: "a", Store: memtree.New(memtree.Options{})}, shares.Share{Path: "b", Store: b})
	if _, err := plain.NewUpload(ctx, "a/f", tree.UploadOptions{}, tree.Condition{}); !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("in a share that takes none: %v", err)
	}
}
