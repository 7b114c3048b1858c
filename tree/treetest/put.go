package treetest

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func testPut(t *testing.T, b Backend) {
	t.Run("a new file", func(t *testing.T) {
		f := open(t, b, "d/")
		s, created, err := f.tryPut("d/f", "content", tree.Condition{})
		if err != nil || !created {
			t.Fatalf("got created %v, error %v", created, err)
		}
		if s.Name != "d/f" || !s.Exists || s.Collection || s.Size != 7 || s.Tag != TagOf("content") {
			t.Errorf("got %+v", s)
		}
		f.wantTree("d/", "d/f=content")
	})
	t.Run("a replacement", func(t *testing.T) {
		f := open(t, b, "f=old and longer")
		s, created, err := f.tryPut("f", "new", tree.Condition{})
		if err != nil || created {
			t.Fatalf("got created %v, error %v", created, err)
		}
		if s.Size != 3 || s.Tag != TagOf("new") {
			t.Errorf("got %+v", s)
		}
		f.wantTree("f=new")
	})
	t.Run("the same content again makes no version", func(t *testing.T) {
		f := open(t, b)
		then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
		before, _, err := f.Put(f.ctx, "f", strings.NewReader("same"), tree.PutOptions{Modified: then, Length: 4}, tree.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		for _, check := range []tree.Condition{tree.Condition{}, IfTag("f", TagOf("same"))} {
			f.clock.Advance(time.Hour)
			s, created, err := f.tryPut("f", "same", check)
			if err != nil || created || s.Tag != TagOf("same") || !s.Modified.Equal(then) || s.Size != 4 {
				t.Errorf("got %+v, created %v, error %v, want %+v", s, created, err, before)
			}
		}
		if s := f.stat("f", 0); !s.Modified.Equal(then) {
			t.Errorf("Stat says %v, want %v", s.Modified, then)
		}
	})
	t.Run("the same content again, with another time", func(t *testing.T) {
		f := open(t, b, "f=same")
		for _, then := range []time.Time{time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC), time.Date(2002, 2, 3, 4, 5, 6, 0, time.UTC)} {
			opts := tree.PutOptions{Modified: then, Length: -1}
			s, created, err := f.Put(f.ctx, "f", strings.NewReader("same"), opts, IfTag("f", TagOf("same")))
			if err != nil || created || s.Tag != TagOf("same") || !s.Modified.Equal(then) {
				t.Errorf("got %+v, created %v, error %v", s, created, err)
			}
			if s := f.stat("f", tree.WantTag); !s.Modified.Equal(then) || s.Tag != TagOf("same") {
				t.Errorf("Stat says %+v, want %v", s, then)
			}
		}
		f.wantTree("f=same")
	})
	t.Run("the same content again, and the condition is not true", func(t *testing.T) {
		f := open(t, b, "f=same")
		f.unchanged("Put", func() {
			for _, check := range []tree.Condition{IfTag("f", TagOf("other")), IfAbsent("f")} {
				_, _, err := f.tryPut("f", "same", check)
				f.wantErr("Put", err, errStale)
			}
		})
	})
	t.Run("other content of the same size", func(t *testing.T) {
		f := open(t, b, "f=same")
		f.put("f", "mesa")
		f.put("f", "same")
		f.put("f", "mesa")
		f.wantTree("f=mesa")
	})
	t.Run("nothing in it", func(t *testing.T) {
		f := open(t, b, "f=old")
		if s := f.put("f", ""); s.Size != 0 || s.Tag != TagOf("") {
			t.Errorf("got %+v", s)
		}
		f.wantTree("f=")
	})
	t.Run("a length nobody said", func(t *testing.T) {
		f := open(t, b)
		body := iotest.OneByteReader(strings.NewReader("content"))
		s, _, err := f.Put(f.ctx, "f", body, tree.PutOptions{Length: -1}, tree.Condition{})
		if err != nil || s.Size != 7 {
			t.Errorf("got %+v, error %v", s, err)
		}
		f.wantTree("f=content")
	})
	t.Run("more than a buffer", func(t *testing.T) {
		f := open(t, b)
		content := strings.Repeat("0123456789abcdef", 64<<10)
		if s := f.put("f", content); s.Tag != TagOf(content) {
			t.Errorf("got tag %s", s.Tag)
		}
		if got, _ := read(t, f.Store, "f"); got != content {
			t.Errorf("%d bytes came back wrong, of %d", len(got), len(content))
		}
	})
	t.Run("its modification time", func(t *testing.T) {
		f := open(t, b, "f=old")
		then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
		s, _, err := f.Put(f.ctx, "f", strings.NewReader("new"), tree.PutOptions{Modified: then, Length: -1}, tree.Condition{})
		if err != nil || !s.Modified.Equal(then) {
			t.Errorf("got %v, error %v, want %v", s.Modified, err, then)
		}
		if s := f.stat("f", 0); !s.Modified.Equal(then) {
			t.Errorf("Stat says %v, want %v", s.Modified, then)
		}
	})

	t.Run("its hashes are told before it can be seen", func(t *testing.T) {
		f := open(t, b, "f=old")
		content := strings.Repeat("content", 100<<10)
		want := tree.Sums{}
		for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA512, crypto.SHA1, crypto.MD5} {
			sum := h.New()
			io.WriteString(sum, content)
			want[h] = sum.Sum(nil)
		}
		asked := 0
		opts := tree.PutOptions{Length: -1, Hashes: []crypto.Hash{crypto.SHA512, crypto.MD5, crypto.SHA1}}
		opts.Verify = func(sums tree.Sums) error {
			asked++
			if !maps.EqualFunc(sums, want, bytes.Equal) {
				t.Errorf("got %x, want %x", sums, want)
			}
			f.wantTree("f=old")
			return nil
		}
		s, _, err := f.Put(f.ctx, "f", strings.NewReader(content), opts, tree.Condition{})
		if err != nil || s.Tag != want.Tag() || asked != 1 {
			t.Errorf("got %+v, error %v, asked %d times", s, err, asked)
		}
	})
	t.Run("it is not what was said of it", func(t *testing.T) {
		f := open(t, b, "f=old")
		other := errors.New("it is another")
		opts := tree.PutOptions{Length: -1, Verify: func(tree.Sums) error { return other }}
		f.unchanged("Put", func() {
			for _, name := range []string{"f", "new"} {
				_, _, err := f.Put(f.ctx, name, strings.NewReader("new"), opts, tree.Condition{})
				f.wantErr("Put", err, other)
			}
		})
	})

	broken := errors.New("the line is dead")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name   string
		ctx    context.Context
		target string
		body   io.Reader
		length int64
		want   error // nil: a BodyError
	}{
		{name: "a body too short", body: strings.NewReader("1234"), length: 5},
		{name: "a body too long", body: strings.NewReader("123456"), length: 5},
		{name: "a body where none was announced", body: strings.NewReader("1"), length: 0},
		{name: "a body that breaks off", body: io.MultiReader(strings.NewReader("12"), iotest.ErrReader(broken)), length: 5},
		{name: "a body that breaks off at its end", body: io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(broken)), length: 5},
		{name: "a body that breaks off at once", body: iotest.ErrReader(broken), length: -1},
		{name: "a new name, a body that breaks off", target: "d/new", body: iotest.ErrReader(broken), length: -1},
		{name: "nobody waits any more", ctx: canceled, body: strings.NewReader("12345"), length: 5, want: context.Canceled},
		{name: "no parent", target: "no/f", body: strings.NewReader("1"), length: -1, want: tree.ErrNoParent},
		{name: "no grandparent", target: "no/no/f", body: strings.NewReader("1"), length: -1, want: tree.ErrNoParent},
		{name: "the parent is a file", target: "f/x", body: strings.NewReader("1"), length: -1, want: tree.ErrNoParent},
		{name: "the grandparent is a file", target: "f/x/y", body: strings.NewReader("1"), length: -1, want: tree.ErrNoParent},
		{name: "onto a collection", target: "d", body: strings.NewReader("1"), length: -1, want: tree.ErrIsCollection},
		{name: "onto the root", target: "/", body: strings.NewReader("1"), length: -1, want: tree.ErrIsCollection},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := open(t, b, "f=old", "d/", "d/g=other")
			ctx, target := f.ctx, "f"
			if test.ctx != nil {
				ctx = test.ctx
			}
			if test.target != "" {
				target = strings.TrimPrefix(test.target, "/")
			}
			f.unchanged("Put", func() {
				_, _, err := f.Put(ctx, target, test.body, tree.PutOptions{Length: test.length}, tree.Condition{})
				if test.want != nil {
					f.wantErr("Put", err, test.want)
					return
				}
				if body := new(tree.BodyError); !errors.As(err, &body) {
					t.Errorf("got error %v, want a BodyError", err)
				}
			})
			f.put("f", "and the next one succeeds")
		})
	}
	t.Run("an error of the body is inside the BodyError", func(t *testing.T) {
		f := open(t, b)
		_, _, err := f.Put(f.ctx, "f", iotest.ErrReader(broken), tree.PutOptions{Length: -1}, tree.Condition{})
		f.wantErr("Put", err, broken)
	})
}

func testMkdir(t *testing.T, b Backend) {
	f := open(t, b, "f=old", "d/", "d/g=other")
	s, err := f.Mkdir(f.ctx, "d/new", tree.MkdirOptions{}, tree.Condition{})
	if err != nil || s.Name != "d/new" || !s.Exists || !s.Collection || s.Tag != "" || s.Size != 0 {
		t.Errorf("got %+v, error %v", s, err)
	}
	f.wantTree("f=old", "d/", "d/g=other", "d/new/")
	then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	s, err = f.Mkdir(f.ctx, "then", tree.MkdirOptions{Modified: then}, tree.Condition{})
	if err != nil || !s.Modified.Equal(then) || !f.stat("then", 0).Modified.Equal(then) {
		t.Errorf("got %+v, error %v, want the time %v", s, err, then)
	}
	if err := f.Remove(f.ctx, "then", tree.Condition{}); err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		name string
		want error
	}{
		{"", tree.ErrExist},
		{"f", tree.ErrExist},
		{"d", tree.ErrExist},
		{"no/x", tree.ErrNoParent},
		{"no/no/x", tree.ErrNoParent},
		{"f/x", tree.ErrNoParent},
	} {
		f.unchanged("Mkdir", func() {
			_, err := f.Mkdir(f.ctx, test.name, tree.MkdirOptions{}, tree.Condition{})
			f.wantErr(fmt.Sprintf("Mkdir(%q)", test.name), err, test.want)
		})
	}
}

func testRemove(t *testing.T, b Backend) {
	layout := []string{"f=old", "d/", "d/g=other", "d/e/", "d/e/h=deep", "empty/"}
	without := func(name string) (left []string) {
		for _, line := range layout {
			of := strings.TrimSuffix(strings.SplitN(line, "=", 2)[0], "/")
			if of != name && !tree.Below(of, name) {
				left = append(left, line)
			}
		}
		return left
	}
	for _, name := range []string{"f", "d", "empty", "d/e", "d/e/h"} {
		t.Run(name, func(t *testing.T) {
			f := open(t, b, layout...)
			f.wantErr("Remove", f.Remove(f.ctx, name, tree.Condition{}), nil)
			f.wantTree(without(name)...)
			f.wantErr("Remove again", f.Remove(f.ctx, name, tree.Condition{}), tree.ErrNotExist)
		})
	}
	f := open(t, b, layout...)
	for name, want := range map[string]error{
		"": tree.ErrPermission, "no": tree.ErrNotExist, "no/no": tree.ErrNotExist, "f/x": tree.ErrNotExist,
	} {
		f.unchanged("Remove", func() {
			f.wantErr(fmt.Sprintf("Remove(%q)", name), f.Remove(f.ctx, name, tree.Condition{}), want)
		})
	}
}
