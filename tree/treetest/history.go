package treetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func testHistory(t *testing.T, b Backend) {
	t.Run("what gives way is kept, and comes back", func(t *testing.T) {
		f := open(t, b)
		put := func(user tree.Principal, content string) {
			t.Helper()
			ctx := tree.WithPrincipal(f.ctx, user)
			_, _, err := f.Put(ctx, "f", strings.NewReader(content), tree.PutOptions{Length: -1}, tree.Condition{})
			f.wantErr("Put", err, nil)
		}
		put("", "one")
		put("her", "two, by her")
		f.wantErr("Remove", f.Remove(tree.WithPrincipal(f.ctx, "him"), "f", tree.Condition{}), nil)
		if b.NoHistory != "" {
			t.Log(b.NoHistory)
			f.wantVersions("", tree.VersionOptions{})
			return
		}
		f.wantVersions("f", tree.VersionOptions{}, "f PUT her 3", "f DELETE him 11")
		f.wantVersions("", tree.VersionOptions{}, "f PUT her 3", "f DELETE him 11")
		f.wantVersions("g", tree.VersionOptions{})
		all := f.versions("f", tree.VersionOptions{Want: tree.WantTag})
		for i, want := range []string{"one", "two, by her"} {
			content, v, err := f.OpenVersion(f.ctx, all[i].ID)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ReadAll(content, v.State)
			if got != want || err != nil || all[i].Tag != TagOf(want) || all[i].Gone.IsZero() {
				t.Errorf("version %d is %q, error %v, told as %+v", i, got, err, all[i])
			}
			content.Close()
		}
		s, created, err := f.Restore(f.ctx, all[0].ID, "f", tree.RestoreOptions{}, IfAbsent("f"))
		if err != nil || !created || s.Tag != TagOf("one") {
			t.Errorf("Restore: got %+v, %v, error %v", s, created, err)
		}
		_, _, err = f.Restore(f.ctx, all[0].ID, "f", tree.RestoreOptions{}, tree.Condition{})
		f.wantErr("Restore of what is there", err, tree.ErrSame)
		_, _, err = f.Restore(f.ctx, all[1].ID, "f", tree.RestoreOptions{NoOverwrite: true}, tree.Condition{})
		f.wantErr("Restore over something, which it may not", err, tree.ErrExist)
		_, _, err = f.Restore(f.ctx, all[1].ID, "f", tree.RestoreOptions{}, IfTag("f", TagOf("another")))
		f.wantErr("Restore with a stale tag", err, errStale)
		_, _, err = f.Restore(f.ctx, all[1].ID, "g", tree.RestoreOptions{}, tree.Condition{})
		f.wantErr("Restore to another name", err, nil)
		f.wantTree("f=one", "g=two, by her")
	})
	t.Run("a collection is kept with all that is in it", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1", "d/e/", "d/e/g=2")
		f.wantErr("Remove", f.Remove(f.ctx, "d", tree.Condition{}), nil)
		if b.NoHistory != "" {
			t.Log(b.NoHistory)
			return
		}
		d := f.versions("d", tree.VersionOptions{})
		if len(d) != 1 || !d[0].Collection {
			t.Fatalf("got %+v", d)
		}
		f.wantVersions("", tree.VersionOptions{Inside: d[0].ID}, "d/e DELETE  0", "d/f DELETE  1")
		f.wantVersions("d/e/g", tree.VersionOptions{}, "d/e/g DELETE  1")
		_, _, err := f.OpenVersion(f.ctx, d[0].ID)
		f.wantErr("OpenVersion of a collection", err, tree.ErrIsCollection)
		_, _, err = f.Restore(f.ctx, f.versions("d/e/g", tree.VersionOptions{})[0].ID, "d/e/g", tree.RestoreOptions{}, tree.Condition{})
		f.wantErr("Restore of a member", err, tree.ErrNoParent)
		_, _, err = f.Restore(f.ctx, d[0].ID, "d", tree.RestoreOptions{}, tree.Condition{})
		f.wantErr("Restore", err, nil)
		f.wantTree("d/", "d/f=1", "d/e/", "d/e/g=2")
	})
	t.Run("what is not kept", func(t *testing.T) {
		f := open(t, b, "f=1")
		for _, id := range []string{"", "no", "../f", "f", "/f", ".."} {
			_, _, err := f.OpenVersion(f.ctx, id)
			f.wantErr(fmt.Sprintf("OpenVersion(%q)", id), err, tree.ErrNotExist)
			_, _, err = f.Restore(f.ctx, id, "g", tree.RestoreOptions{}, tree.Condition{})
			f.wantErr(fmt.Sprintf("Restore(%q)", id), err, tree.ErrNotExist)
		}
		f.wantTree("f=1")
	})
}

func (f *fixture) versions(name string, opts tree.VersionOptions) (all []tree.Version) {
	f.t.Helper()
	for v, err := range f.Versions(f.ctx, name, opts) {
		if err != nil {
			f.t.Errorf("Versions(%q): %v", name, err)
		}
		all = append(all, v)
	}
	return all
}

// wantVersions compares versions by name, cause, principal and size.
func (f *fixture) wantVersions(name string, opts tree.VersionOptions, want ...string) {
	f.t.Helper()
	var got []string
	for _, v := range f.versions(name, opts) {
		got = append(got, fmt.Sprintf("%s %s %s %d", v.Name, v.Cause, v.Principal, v.Size))
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("the versions of %q are %q, want %q", name, got, want)
	}
}
