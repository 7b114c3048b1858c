package treetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func testNames(t *testing.T, b Backend) {
	names := []string{
		"\xff\xfe not UTF-8 \x80", "a b", " begins", "ends ", "100%", "%2F", "%00", "line\nbreak", "tab\t", "\x01\x7f",
		"é", "e\u0301", "-rf", "*?[", "...", ".hidden", "a;b", "#1", "quote\"'", "日本語", strings.Repeat("n", 255),
	}
	for _, name := range names {
		if b.Trims != "" && strings.TrimRight(name, ". ") != name {
			t.Log(b.Trims)
			continue
		}
		t.Run(fmt.Sprintf("%.20q", name), func(t *testing.T) {
			if err := tree.CheckName(name); err != nil {
				t.Fatal(err)
			}
			f := open(t, b, "x=1")
			f.put(name, "content")
			f.wantTree("x=1", name+"=content")
			if s := f.stat(name, tree.WantTag); s.Name != name || s.Tag != TagOf("content") {
				t.Errorf("got %+v", s)
			}
			f.patch(name, set("a", "1"))
			f.wantProperties(name, "a=1")
			f.wantLocks(name, f.lock(tree.LockRequest{Root: name}))
			if _, _, err := f.Move(f.ctx, name, "y", tree.CopyOptions{}, tree.Condition{}); err != nil {
				t.Error(err)
			}
			f.mkdir(name)
			f.put(name+"/"+name, "content")
			if _, _, err := f.Copy(f.ctx, name, "z", tree.CopyOptions{}, tree.Condition{}); err != nil {
				t.Error(err)
			}
			if _, _, err := f.Move(f.ctx, "z/"+name, "x", tree.CopyOptions{}, tree.Condition{}); err != nil {
				t.Error(err)
			}
			f.wantErr("Remove", f.Remove(f.ctx, name+"/"+name, tree.Condition{}), nil)
			f.wantTree("x=content", "y=content", "z/", name+"/")
		})
	}
	t.Run("names differ if any byte does", func(t *testing.T) {
		if b.Spellings != nil {
			return // see testSpellings
		}
		f := open(t, b, "é=composed", "e\u0301=decomposed", "e=plain", "e =with a space")
		f.wantTree("é=composed", "e\u0301=decomposed", "e=plain", "e =with a space")
	})
	t.Run("too long", func(t *testing.T) {
		f := open(t, b, "f=1", "d/")
		long := strings.Repeat("n", 256)
		var put, mkdir, move, copied error
		do := func() {
			_, _, put = f.tryPut(long, "2", tree.Condition{})
			_, mkdir = f.Mkdir(f.ctx, "d/"+long, tree.MkdirOptions{}, tree.Condition{})
			_, _, copied = f.Copy(f.ctx, "f", long+"c", tree.CopyOptions{}, tree.Condition{})
			_, _, move = f.Move(f.ctx, "f", "d/"+long+"m", tree.CopyOptions{}, tree.Condition{})
		}
		want := tree.ErrNameTooLong
		if b.AnyLength != "" {
			t.Log(b.AnyLength)
			want = nil
			do()
		} else {
			f.unchanged("a name that is too long", do)
		}
		f.wantErr("Put", put, want)
		f.wantErr("Mkdir", mkdir, want)
		f.wantErr("Copy", copied, want)
		f.wantErr("Move", move, want)
	})
	t.Run("reserved", func(t *testing.T) { testReserved(t, b) })
	t.Run("deep", func(t *testing.T) {
		f := open(t, b)
		name := "d"
		want := []string{"d/"}
		f.mkdir(name)
		for range 40 {
			name += "/d"
			f.mkdir(name)
			want = append(want, name+"/")
		}
		f.put(name+"/f", "deep")
		f.wantTree(append(want, name+"/f=deep")...)
	})
}

// testReserved: the name of the server's own state, in any spelling and at any depth, is missing for readers, and no writer
// makes or changes anything there.
func testReserved(t *testing.T, b Backend) {
	for _, name := range []string{".ifmatch", "d/.IFMATCH", ".ifmatch/x", "d/.ifmatch. /x", ".if\u00admatch"} {
		f := open(t, b, "f=1", "d/")
		never, patch := tree.Condition{}, tree.Patch{Properties: []webdav.Proppatch{set("a", "1")}}
		var errs map[string]error
		f.unchanged("a reserved name", func() {
			_, stat := f.Stat(f.ctx, name, tree.ReadOptions{})
			_, _, opened := f.Open(f.ctx, name, tree.ReadOptions{}, never)
			_, _, put := f.tryPut(name, "2", never)
			_, mkdir := f.Mkdir(f.ctx, name, tree.MkdirOptions{}, never)
			_, _, copied := f.Copy(f.ctx, "f", name, tree.CopyOptions{}, never)
			_, _, copiedFrom := f.Copy(f.ctx, name, "new", tree.CopyOptions{}, never)
			_, _, moved := f.Move(f.ctx, "f", name, tree.CopyOptions{}, never)
			_, _, movedFrom := f.Move(f.ctx, name, "new", tree.CopyOptions{}, never)
			_, _, locked := f.Lock(f.ctx, tree.LockRequest{Root: name, Timeout: time.Minute}, never)
			errs = map[string]error{
				"Stat": stat, "Open": opened, "Put": put, "Mkdir": mkdir, "Copy to it": copied, "Copy": copiedFrom, "Move to it": moved,
				"Move": movedFrom, "Remove": f.Remove(f.ctx, name, never), "Lock": locked,
				"PatchProperties": f.PatchProperties(f.ctx, name, patch, never),
			}
			for _, err := range f.List(f.ctx, name, tree.ListOptions{Depth: 1}, never) {
				errs["List"] = err
			}
			_ = f.Try(f.ctx, tree.Condition{Names: []string{name}, Check: func(v tree.View) error {
				_, errs["State of a View"] = v.State(name)
				return nil
			}})
		})
		for what, err := range errs {
			f.wantErr(fmt.Sprintf("%s %q", what, name), err, tree.ErrReserved)
		}
		f.wantTree("f=1", "d/")
	}
}

func testReopen(t *testing.T, b Backend) {
	f := open(t, b, "f=1", "d/", "d/g=2", "\xff=3")
	f.patch("f", set("a", "1"))
	f.patch("d", set("b", "2"))
	l := f.lock(tree.LockRequest{Root: "d", Infinite: true, Owner: "<x/>"})
	odd := f.lock(tree.LockRequest{Root: "\xff", Owner: "\xfe"})
	gone := f.lock(tree.LockRequest{Root: "f", Timeout: time.Minute})
	before := Snapshot(t, f.Store)
	f.Store = f.reopen()
	if b.Forgets != "" {
		t.Log(b.Forgets)
		f.wantTree()
		return
	}
	if after := Snapshot(t, f.Store); !slices.Equal(before, after) {
		t.Errorf("closed as\n  %q\nreopened as\n  %q", before, after)
	}
	f.wantLocks("\xff", odd)
	f.wantLocks("f", gone)
	f.clock.Advance(time.Minute)
	f.wantLocks("f")
	f.wantErr("Unlock", f.Unlock(f.ctx, "d/g", l.Token, tree.Condition{}), nil)
	f.Store = f.reopen()
	f.wantLocks("d")
	f.wantProperties("f", "a=1")
	f.put("f", "and goes on")
}
