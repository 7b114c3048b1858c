package treetest

import (
	"bytes"
	"crypto"
	"testing"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// sumsOf returns the sums of a content.
func sumsOf(content string) tree.Sums {
	sums := tree.Sums{}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA1, crypto.MD5} {
		w := h.New()
		w.Write([]byte(content))
		sums[h] = w.Sum(nil)
	}
	return sums
}

func (f *fixture) wantSums(name, content string) {
	f.t.Helper()
	told := map[string]tree.Sums{"Stat": f.stat(name, tree.WantTag|tree.WantSums).Sums}
	parent, _ := tree.Split(name)
	for m, err := range Members(f.ctx, f, parent, tree.WantTag|tree.WantSums) {
		if err != nil {
			f.t.Error(err)
		}
		if m.Name == name {
			told["List"] = m.Sums
		}
	}
	for by, got := range told {
		for h, want := range sumsOf(content) {
			if !bytes.Equal(got[h], want) {
				f.t.Errorf("%s tells %v of %q as %x, want %x", by, h, name, got[h], want)
			}
		}
	}
	if len(told) != 2 {
		f.t.Errorf("%q is not listed", name)
	}
}

// testKept is about the values that a store keeps beside the content, except dead properties.
func testKept(t *testing.T, b Backend) {
	t.Run("hashes are those of the content", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=one", "d/g=one")
		f.wantSums("d/f", "one")
		f.wantSums("d/f", "one") // as the store remembers it
		f.put("d/f", "two")
		f.wantSums("d/f", "two")
		opts := tree.PutOptions{Length: -1, Hashes: []crypto.Hash{crypto.MD5}}
		if _, _, err := f.Put(f.ctx, "d/f", bytes.NewReader([]byte("three")), opts, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		f.wantSums("d/f", "three")
		if _, _, err := f.Move(f.ctx, "d/f", "d/g", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		f.wantSums("d/g", "three")
		if s := f.stat("d", tree.WantTag|tree.WantSums); s.Sums != nil {
			t.Errorf("a collection has the hashes %v", s.Sums)
		}
	})
	t.Run("whether it is a program", func(t *testing.T) {
		f := open(t, b, "f=1", "d/")
		yes, no := true, false
		for _, want := range []*bool{&yes, &yes, &no, &yes} {
			if err := f.PatchProperties(f.ctx, "f", tree.Patch{Executable: want}, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
			if s := f.stat("f", tree.WantTag); s.Executable != *want || s.Tag != TagOf("1") {
				t.Errorf("got %+v, want %v", s, *want)
			}
		}
		f.unchanged("a patch of a collection", func() {
			err := f.PatchProperties(f.ctx, "d", tree.Patch{Executable: &yes}, tree.Condition{})
			f.wantErr("PatchProperties", err, tree.ErrIsCollection)
		})
		err := f.PatchProperties(f.ctx, "f", tree.Patch{Executable: &no, Properties: []webdav.Proppatch{
			set("huge", string(bytes.Repeat([]byte("x"), 1<<20))),
		}}, tree.Condition{})
		if s := f.stat("f", 0); err == nil || !s.Executable {
			t.Errorf("a patch that fails: error %v, and %+v", err, s)
		}
	})
	t.Run("a lock tells what it is on", func(t *testing.T) {
		f := open(t, b, "f=1", "d/", "e/")
		if l := f.lock(tree.LockRequest{Root: "d"}); !l.Collection {
			t.Errorf("a lock on a collection: %+v", l)
		}
		if l := f.lock(tree.LockRequest{Root: "f"}); l.Collection {
			t.Errorf("a lock on a file: %+v", l)
		}
		// RFC 4918 §9.8.4: a lock on the destination stays.
		if _, _, err := f.Copy(f.ctx, "e", "f", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		if locks := f.stat("f", tree.WantLocks).Locks; len(locks) != 1 || !locks[0].Collection {
			t.Errorf("after a collection came there: %+v", locks)
		}
	})
}
