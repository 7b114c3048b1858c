package treetest

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/net/webdav"

	"ifmatch/tree"
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

func testRead(t *testing.T, b Backend) {
	f := open(t, b, "f=one", "d/", "d/g=two", "d/e/", "d/e/h=three")
	t.Run("nothing is there", func(t *testing.T) {
		for _, name := range []string{"no", "no/no", "f/x", "f/x/y", "d/no"} {
			_, err := f.Stat(f.ctx, name, tree.ReadOptions{Want: tree.WantTag | tree.WantProperties | tree.WantLocks})
			f.wantErr(fmt.Sprintf("Stat(%q)", name), err, tree.ErrNotExist)
			_, _, err = f.Open(f.ctx, name, tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
			f.wantErr(fmt.Sprintf("Open(%q)", name), err, tree.ErrNotExist)
			f.wantErr(fmt.Sprintf("List(%q)", name), listErr(f, name, tree.ListOptions{}, tree.Condition{}), tree.ErrNotExist)
		}
	})
	t.Run("the root", func(t *testing.T) {
		if s := f.stat("", tree.WantTag); s.Name != "" || !s.Exists || !s.Collection || s.Tag != "" || s.Size != 0 {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("a collection cannot be opened", func(t *testing.T) {
		for _, name := range []string{"", "d", "d/e"} {
			_, _, err := f.Open(f.ctx, name, tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
			f.wantErr(fmt.Sprintf("Open(%q)", name), err, tree.ErrIsCollection)
		}
	})
	t.Run("a file is listed alone", func(t *testing.T) {
		for _, depth := range []int{0, 1, -1} {
			f.wantList("f", tree.ListOptions{Depth: depth, Limit: 1}, "f")
		}
	})
	t.Run("a listing has the members and nothing else", func(t *testing.T) {
		f.wantTree("f=one", "d/", "d/g=two", "d/e/", "d/e/h=three")
		f := open(t, b, "d/")
		for range Members(f.ctx, f, "d", 0) {
			t.Error("an empty collection has a member")
		}
	})
	t.Run("a listing has only what is wanted", func(t *testing.T) {
		for s, err := range Members(f.ctx, f, "", 0) {
			if err != nil || s.Properties != nil || s.Locks != nil {
				t.Errorf("got %+v, error %v", s, err)
			}
		}
	})
	t.Run("a listing goes as deep as it is asked to, each collection before its members", func(t *testing.T) {
		f.wantList("", tree.ListOptions{}, "")
		f.wantList("", tree.ListOptions{Depth: 1}, "", "d", "f")
		f.wantList("", tree.ListOptions{Depth: -1}, "", "d", "d/e", "d/e/h", "d/g", "f")
		f.wantList("d", tree.ListOptions{Depth: 1, Limit: 2}, "d", "d/e", "d/g")
		f.wantList("d", tree.ListOptions{Depth: -1, Limit: 3}, "d", "d/e", "d/e/h", "d/g")
	})
	t.Run("what has too many members is not listed", func(t *testing.T) {
		for _, opts := range []tree.ListOptions{{Depth: 1, Limit: 1}, {Depth: -1, Limit: 2}} {
			f.wantErr(fmt.Sprintf("%+v", opts), listErr(f, "d", opts, tree.Condition{}), tree.ErrTooMany)
		}
		f.wantList("d", tree.ListOptions{Limit: 1}, "d")
	})
	t.Run("a condition is asked about what is read", func(t *testing.T) {
		one, other := IfTag("f", TagOf("one")), IfTag("f", TagOf("other"))
		f.wantErr("List", listErr(f, "f", tree.ListOptions{}, other), errStale)
		f.wantErr("List of a collection, and a false condition on a file", listErr(f, "d", tree.ListOptions{Depth: 1}, other), errStale)
		for s, err := range f.List(f.ctx, "f", tree.ListOptions{}, one) {
			if err != nil || s.Name != "f" {
				t.Errorf("List: got %+v, error %v", s, err)
			}
		}
		_, _, err := f.Open(f.ctx, "f", tree.ReadOptions{Want: tree.WantTag}, other)
		f.wantErr("Open", err, errStale)
		content, s, err := f.Open(f.ctx, "f", tree.ReadOptions{Want: tree.WantTag}, one)
		f.wantErr("Open, and a true condition", err, nil)
		if err == nil && (content.Close() != nil || s.Tag != TagOf("one")) {
			t.Errorf("Open: got %+v", s)
		}
		_, _, err = f.Open(f.ctx, "no", tree.ReadOptions{}, If(func(tree.View) error { return errStale }))
		f.wantErr("Open of nothing, and a false condition", err, tree.ErrNotExist)
	})
	t.Run("a listing can be left early", func(t *testing.T) {
		for range Members(f.ctx, f, "", tree.WantTag) {
			break
		}
	})
	t.Run("a long listing", func(t *testing.T) {
		f := open(t, b, "d/")
		want := []string{"d/"}
		for i := range 150 {
			want = append(want, fmt.Sprintf("d/%03d=", i))
		}
		f.lay(want[1:]...)
		f.wantTree(want...)
		// Whatever is removed meanwhile, the others are all there, once.
		left := map[string]int{}
		for s, err := range Members(f.ctx, f, "d", 0) {
			if err != nil {
				t.Errorf("%q: %v", s.Name, err)
			}
			left[s.Name]++
			if len(left) == 1 {
				for i := range 75 {
					if err := f.Remove(f.ctx, fmt.Sprintf("d/%03d", 2*i), tree.Condition{}); err != nil {
						t.Error(err)
					}
				}
			}
		}
		for i := range 75 {
			if name := fmt.Sprintf("d/%03d", 2*i+1); left[name] != 1 {
				t.Errorf("%q was listed %d times", name, left[name])
			}
		}
	})
	t.Run("parts of the content can be sent, and read", func(t *testing.T) {
		content, _, err := f.Open(f.ctx, "d/e/h", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		for _, part := range []struct {
			offset, length int64
			want           string
		}{{0, 5, "three"}, {3, 2, "ee"}, {1, 3, "hre"}, {0, 0, ""}, {5, 0, ""}} {
			var sent strings.Builder
			n, err := content.WriteRange(f.ctx, &sent, part.offset, part.length)
			if sent.String() != part.want || n != part.length || err != nil {
				t.Errorf("%d bytes from %d: got %q, error %v", part.length, part.offset, sent.String(), err)
			}
			p := make([]byte, part.length)
			if n, err := content.ReadAt(p, part.offset); string(p[:n]) != part.want || err != nil && err != io.EOF {
				t.Errorf("%d bytes read at %d: got %q, error %v", part.length, part.offset, p[:n], err)
			}
		}
	})
}

// listErr returns the error that a listing consists of.
func listErr(f *fixture, name string, opts tree.ListOptions, cond tree.Condition) (ended error) {
	for s, err := range f.List(f.ctx, name, opts, cond) {
		if err != nil && s.Name == "" {
			ended = err
		} else {
			f.t.Errorf("List(%q) yields %+v, error %v", name, s, err)
		}
	}
	return ended
}

// wantList asserts which names are listed; of members of one collection, the order is the store's.
func (f *fixture) wantList(dir string, opts tree.ListOptions, want ...string) {
	f.t.Helper()
	var got []string
	listed := map[string]bool{}
	for s, err := range f.List(f.ctx, dir, opts, tree.Condition{}) {
		if parent, _ := tree.Split(s.Name); err != nil || s.Name != dir && !listed[parent] {
			f.t.Errorf("List(%q, %+v) yields %q too early, or with error %v", dir, opts, s.Name, err)
		}
		listed[s.Name] = true
		got = append(got, s.Name)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		f.t.Errorf("List(%q, %+v) yields %q, want %q", dir, opts, got, want)
	}
}

func testTag(t *testing.T, b Backend) {
	f := open(t, b, "d/")
	tag := TagOf("content")
	want := func(where string, got tree.ETag) {
		t.Helper()
		if got != tag {
			t.Errorf("%s: got tag %s, want %s", where, got, tag)
		}
	}
	want("Put", f.put("f", "content").Tag)
	want("Put under another name", f.put("d/g", "content").Tag)
	want("Stat", f.stat("f", tree.WantTag).Tag)
	for s, err := range Members(f.ctx, f, "d", tree.WantTag) {
		if err != nil {
			t.Error(err)
		}
		want("List", s.Tag)
	}
	_, s := read(t, f.Store, "f")
	want("Open", s.Tag)
	s, _, err := f.Copy(f.ctx, "f", "copy", tree.CopyOptions{}, tree.Condition{})
	f.wantErr("Copy", err, nil)
	want("Copy", s.Tag)
	want("Stat of the copy", f.stat("copy", tree.WantTag).Tag)
	s, _, err = f.Move(f.ctx, "copy", "moved", tree.CopyOptions{}, tree.Condition{})
	f.wantErr("Move", err, nil)
	if s.Tag == "" {
		t.Log("Move does not know the tag yet")
	} else {
		want("Move", s.Tag)
	}
	want("Stat of what was moved", f.stat("moved", tree.WantTag).Tag)
	if _, _, err := f.Copy(f.ctx, "d", "e", tree.CopyOptions{}, tree.Condition{}); err != nil {
		t.Error(err)
	}
	want("Stat in a copied collection", f.stat("e/g", tree.WantTag).Tag)
	if s := f.stat("d", tree.WantTag); s.Tag != "" {
		t.Errorf("a collection has the tag %s", s.Tag)
	}
	f.patch("f", set("p", "v"))
	want("Stat after a property was set", f.stat("f", tree.WantTag).Tag)
	f.lock(tree.LockRequest{Root: "f"})
	want("Stat after a lock was taken", f.stat("f", tree.WantTag).Tag)
	if s, _, err := f.Put(f.ctx, "f", strings.NewReader("content"), tree.PutOptions{Length: -1, Modified: time.Unix(1, 0)}, tree.Condition{}); err != nil {
		t.Error(err)
	} else {
		want("Put with another time", s.Tag)
	}
	if got := f.put("f", "Content").Tag; got == tag {
		t.Error("other content has the same tag")
	}
}

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

// A readerFunc is called when it is read, and has nothing to read.
type readerFunc func()

func (r readerFunc) Read([]byte) (int, error) {
	r()
	return 0, io.EOF
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

func testContent(t *testing.T, b Backend) {
	for _, test := range []struct {
		name string
		do   func(f *fixture) error
	}{
		{"Put", func(f *fixture) error { _, _, err := f.tryPut("d/f", "new", tree.Condition{}); return err }},
		{"Remove", func(f *fixture) error { return f.Remove(f.ctx, "d/f", tree.Condition{}) }},
		{"Remove of its collection", func(f *fixture) error { return f.Remove(f.ctx, "d", tree.Condition{}) }},
		{"Move", func(f *fixture) error {
			_, _, err := f.Move(f.ctx, "d/f", "moved", tree.CopyOptions{}, tree.Condition{})
			return err
		}},
		{"Move over it", func(f *fixture) error {
			_, _, err := f.Move(f.ctx, "g", "d/f", tree.CopyOptions{}, tree.Condition{})
			return err
		}},
		{"Copy over its collection", func(f *fixture) error {
			_, _, err := f.Copy(f.ctx, "g", "d", tree.CopyOptions{}, tree.Condition{})
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := open(t, b, "d/", "d/f=the old version", "g=other")
			content, state, err := f.Open(f.ctx, "d/f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
			if err != nil {
				t.Fatal(err)
			}
			defer content.Close()
			f.wantErr(test.name, test.do(f), nil)
			for range 2 {
				if got, err := ReadAll(content, state); got != "the old version" || err != nil || state.Tag != TagOf(got) {
					t.Errorf("got %q, error %v", got, err)
				}
			}
		})
	}
}
