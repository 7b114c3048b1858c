package treetest

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"ifmatch/tree"
)

func property(name, value string) webdav.Property {
	return webdav.Property{XMLName: xml.Name{Space: "urn:test", Local: name}, InnerXML: []byte(value)}
}

// set and remove are steps of a patch; set takes names and values in turn.
func set(pairs ...string) webdav.Proppatch {
	var p webdav.Proppatch
	for pair := range slices.Chunk(pairs, 2) {
		p.Props = append(p.Props, property(pair[0], pair[1]))
	}
	return p
}

func remove(names ...string) webdav.Proppatch {
	p := webdav.Proppatch{Remove: true}
	for _, name := range names {
		p.Props = append(p.Props, property(name, ""))
	}
	return p
}

// patch patches a resource; without properties, it asserts that much.
func (f *fixture) patch(name string, steps ...webdav.Proppatch) {
	f.t.Helper()
	err := f.PatchProperties(f.ctx, name, tree.Patch{Properties: steps}, tree.Condition{})
	if f.b.NoProperties != "" {
		f.t.Log(f.b.NoProperties)
		f.wantErr("PatchProperties", err, tree.ErrUnsupported)
	} else if err != nil {
		f.t.Errorf("PatchProperties(%q): %v", name, err)
	}
}

func (f *fixture) wantProperties(name string, want ...string) {
	f.t.Helper()
	if f.b.NoProperties != "" {
		want = nil
	}
	var got []string
	for _, p := range f.stat(name, tree.WantProperties).Properties {
		if p.XMLName.Space != "urn:test" {
			f.t.Errorf("%q has a property in %q", name, p.XMLName.Space)
		}
		got = append(got, p.XMLName.Local+"="+string(p.InnerXML))
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("the properties of %q are %q, want %q", name, got, want)
	}
}

func testProperties(t *testing.T, b Backend) {
	t.Run("set, replaced and removed in order", func(t *testing.T) {
		f := open(t, b, "f=1", "d/")
		for _, name := range []string{"f", "d", ""} {
			f.wantProperties(name)
			f.patch(name, set("a", "1", "b", "<x/>"), set("c", "é &amp; \n"))
			f.wantProperties(name, "a=1", "b=<x/>", "c=é &amp; \n")
			f.patch(name, set("b", "2"), remove("a"), set("a", "3"), remove("no"))
			f.wantProperties(name, "b=2", "c=é &amp; \n", "a=3")
			f.patch(name, set("d", "4"), remove("d"))
			f.wantProperties(name, "b=2", "c=é &amp; \n", "a=3")
			f.patch(name, remove("a", "b", "c"))
			f.wantProperties(name)
		}
		f.wantTree("f=1", "d/")
	})
	t.Run("the language is kept", func(t *testing.T) {
		f := open(t, b, "f=1")
		p := property("p", "Grüße")
		p.Lang = "de"
		f.patch("f", webdav.Proppatch{Props: []webdav.Property{p}})
		for _, got := range f.stat("f", tree.WantProperties).Properties {
			if got.Lang != "de" || string(got.InnerXML) != "Grüße" {
				t.Errorf("got %+v", got)
			}
		}
	})
	t.Run("only of what exists", func(t *testing.T) {
		f := open(t, b, "f=1")
		for _, name := range []string{"no", "no/no", "f/x"} {
			err := f.PatchProperties(f.ctx, name, tree.Patch{Properties: []webdav.Proppatch{set("a", "1")}}, tree.Condition{})
			f.wantErr(fmt.Sprintf("PatchProperties(%q)", name), err, tree.ErrNotExist)
		}
		f.wantTree("f=1")
	})
	t.Run("bounded, and all or nothing", func(t *testing.T) {
		f := open(t, b, "f=1")
		f.patch("f", set("a", "1"))
		f.unchanged("a patch that is too large", func() {
			err := f.PatchProperties(f.ctx, "f", tree.Patch{Properties: []webdav.Proppatch{
				remove("a"), set("b", "2"), set("huge", strings.Repeat("x", 1<<20)),
			}}, tree.Condition{})
			f.wantErr("PatchProperties", err, tree.ErrNoSpace)
			err = f.PatchProperties(f.ctx, "f", tree.Patch{Properties: []webdav.Proppatch{
				remove("a"), set("half", strings.Repeat("x", 40<<10)), set("other half", strings.Repeat("x", 40<<10)),
			}}, tree.Condition{})
			f.wantErr("PatchProperties of two halves", err, tree.ErrNoSpace)
		})
		f.patch("f", set("a", "2"))
		f.wantProperties("f", "a=2")
	})
	t.Run("a patch can set the modification time", func(t *testing.T) {
		f := open(t, b, "f=1", "d/")
		then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
		for _, name := range []string{"f", "d"} {
			if err := f.PatchProperties(f.ctx, name, tree.Patch{Modified: then}, tree.Condition{}); err != nil {
				t.Error(err)
			}
			if s := f.stat(name, 0); !s.Modified.Equal(then) {
				t.Errorf("%q: got %v, want %v", name, s.Modified, then)
			}
			f.wantProperties(name)
		}
		if s := f.stat("f", tree.WantTag); s.Tag != TagOf("1") {
			t.Errorf("got tag %s", s.Tag)
		}
		refused := errors.New("refused")
		err := f.PatchProperties(f.ctx, "f", tree.Patch{Modified: then.Add(time.Hour)}, If(func(tree.View) error { return refused }))
		f.wantErr("a refused patch", err, refused)
		if s := f.stat("f", 0); !s.Modified.Equal(then) {
			t.Errorf("a refused patch has set %v", s.Modified)
		}
	})
	t.Run("they stay when the content is replaced", func(t *testing.T) {
		f := open(t, b, "f=1")
		f.patch("f", set("a", "1"))
		f.put("f", "2")
		f.put("f", "3")
		f.wantProperties("f", "a=1")
	})
	t.Run("they are moved", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1", "g=2", "h=3")
		f.patch("d", set("a", "d"))
		f.patch("d/f", set("a", "f"))
		f.patch("h", set("a", "h"))
		for _, ends := range [][2]string{{"d", "e"}, {"e/f", "g"}, {"h", "x"}} {
			if _, _, err := f.Move(f.ctx, ends[0], ends[1], tree.CopyOptions{}, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		f.wantProperties("e", "a=d")
		f.wantProperties("g", "a=f")
		f.wantProperties("x", "a=h")
		f.put("h", "new")
		f.wantProperties("h") // a new resource under an old name
	})
	t.Run("they are copied", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1", "d/e/", "g=2")
		f.patch("d", set("a", "d"))
		f.patch("d/f", set("a", "f"))
		f.patch("d/e", set("a", "e"))
		f.patch("g", set("b", "g"))
		for _, ends := range [][2]string{{"d", "x"}, {"d/f", "g"}} {
			if _, _, err := f.Copy(f.ctx, ends[0], ends[1], tree.CopyOptions{}, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		f.wantProperties("x", "a=d")
		f.wantProperties("x/f", "a=f")
		f.wantProperties("x/e", "a=e")
		f.wantProperties("g", "a=f") // RFC 4918 §9.8.2: those of the source
		f.patch("x/f", set("a", "other"))
		f.wantProperties("d/f", "a=f")
	})
	t.Run("they end with the resource", func(t *testing.T) {
		f := open(t, b, "f=1", "d/")
		f.patch("f", set("a", "1"))
		f.patch("d", set("a", "1"))
		f.wantErr("Remove", errors.Join(f.Remove(f.ctx, "f", tree.Condition{}), f.Remove(f.ctx, "d", tree.Condition{})), nil)
		f.lay("f=2", "d/")
		f.wantProperties("f")
		f.wantProperties("d")
	})
	t.Run("up to 64 KiB, wherever they go", func(t *testing.T) {
		for _, size := range []int{1000, 2000, 3000, 4000, 5000, 20_000, 64<<10 - 2} {
			f := open(t, b, "d/", "d/f=1", "g=2", "h=3")
			big := strings.Repeat("\"<>'é", size/6+1)[:size/6*6] + strings.Repeat("x", size%6)
			want := []string{"a=1", "big=" + big}
			for _, name := range []string{"d", "d/f", "g"} {
				f.patch(name, set("a", "1", "big", big))
				f.wantProperties(name, want...)
			}
			f.put("g", "other")
			f.wantProperties("g", want...)
			for _, ends := range [][2]string{{"d", "copy"}, {"g", "copy/g"}, {"copy/f", "h"}} {
				if _, _, err := f.Copy(f.ctx, ends[0], ends[1], tree.CopyOptions{}, tree.Condition{}); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := f.Move(f.ctx, "copy", "moved", tree.CopyOptions{}, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"moved", "moved/f", "moved/g", "h", "d", "d/f", "g"} {
				f.wantProperties(name, want...)
			}
			for s, err := range Members(f.ctx, f, "moved", tree.WantProperties) {
				if err != nil || len(s.Properties) != 2 && b.NoProperties == "" {
					t.Errorf("%q is listed with %d properties, error %v", s.Name, len(s.Properties), err)
				}
			}
			f.patch("moved/f", set("a", "2"), remove("big"))
			f.wantProperties("moved/f", "a=2")
			f.patch("h", set("big", big+"x"))
			f.wantProperties("h", "a=1", "big="+big+"x")
			f.wantProperties("d/f", want...)
			f.patch("d", remove("a", "big"))
			f.wantProperties("d")
		}
	})
	t.Run("what is opened has them", func(t *testing.T) {
		f := open(t, b, "f=1")
		f.patch("f", set("a", "1", "b", "2"))
		content, s, err := f.Open(f.ctx, "f", tree.ReadOptions{Want: tree.WantTag | tree.WantProperties}, tree.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		if len(s.Properties) != 2 && b.NoProperties == "" {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("a listing has them", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1")
		f.patch("d/f", set("a", "1"))
		for s, err := range Members(f.ctx, f, "d", tree.WantProperties) {
			if err != nil || len(s.Properties) != 1 && b.NoProperties == "" {
				t.Errorf("got %+v, error %v", s, err)
			}
		}
	})
}

// lock takes a lock for a client and a user; it ends after an hour unless it says otherwise.
func (f *fixture) lock(l tree.LockRequest) tree.Lock {
	f.t.Helper()
	l.Timeout = cmp.Or(l.Timeout, time.Hour)
	ctx := tree.WithPrincipal(tree.WithClient(f.ctx, "client"), "user")
	got, _, err := f.Lock(ctx, l, tree.Condition{})
	if err != nil {
		f.t.Fatalf("Lock(%q): %v", l.Root, err)
	}
	if got.Token == "" || got.Root != l.Root || got.Infinite != l.Infinite || got.Shared != l.Shared ||
		got.Owner != l.Owner || got.Holder != "client" || got.Principal != "user" || !got.Expires.Equal(f.clock.Now().Add(l.Timeout)) {
		f.t.Errorf("got %+v, want %+v with a token", got, l)
	}
	return got
}

// wantLocks compares the locks that cover a name with these, in any order: as Stat and, of those, a View tell.
func (f *fixture) wantLocks(name string, want ...tree.Lock) {
	f.t.Helper()
	var tokens []string
	for _, l := range f.stat(name, tree.WantLocks).Locks {
		if !l.Covers(name) {
			f.t.Errorf("%q is told to be locked by %+v", name, l)
		}
		tokens = append(tokens, l.Token)
	}
	var wanted []string
	for _, l := range want {
		wanted = append(wanted, l.Token)
	}
	slices.Sort(tokens)
	slices.Sort(wanted)
	if !slices.Equal(tokens, wanted) {
		f.t.Errorf("the locks of %q are %q, want %q", name, tokens, wanted)
	}
	f.wantErr("Try", f.Try(f.ctx, If(func(v tree.View) error {
		locks, err := v.Locks(name)
		for _, l := range want {
			if !slices.ContainsFunc(locks, func(o tree.Lock) bool { return o.Token == l.Token && o.Root == l.Root && o.Owner == l.Owner }) {
				f.t.Errorf("the View does not tell of the lock %+v on %q", l, name)
			}
		}
		return err
	}, name)), nil)
}

func testLocks(t *testing.T, b Backend) {
	t.Run("a View has those that cover a name and those below it", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1", "d/e/", "d/e/g=2", "x=3")
		above := f.lock(tree.LockRequest{Root: "d", Infinite: true, Shared: true, Owner: "<D:href xmlns:D=\"DAV:\">me</D:href>"})
		below := f.lock(tree.LockRequest{Root: "d/e/g", Shared: true})
		other := f.lock(tree.LockRequest{Root: "x"})
		f.wantLocks("d", above)
		f.wantLocks("d/f", above)
		f.wantLocks("d/e", above)
		f.wantLocks("d/e/g", above, below)
		f.wantLocks("x", other)
		f.wantLocks("")
		for name, want := range map[string]int{"": 3, "d": 2, "d/f": 1, "d/e": 2, "d/e/g": 2, "x": 1, "no": 0, "d/no": 1} {
			f.wantErr("Try", f.Try(f.ctx, If(func(v tree.View) error {
				locks, err := v.Locks(name)
				if len(locks) != want {
					t.Errorf("Locks(%q) has %d locks, want %d: %+v", name, len(locks), want, locks)
				}
				return err
			}, name)), nil)
		}
	})

	for _, test := range []struct {
		name          string
		first, second tree.LockRequest
		conflict      bool
	}{
		{"twice exclusive", tree.LockRequest{Root: "d"}, tree.LockRequest{Root: "d"}, true},
		{"twice shared", tree.LockRequest{Root: "d", Shared: true}, tree.LockRequest{Root: "d", Shared: true}, false},
		{"shared, then exclusive", tree.LockRequest{Root: "d", Shared: true}, tree.LockRequest{Root: "d"}, true},
		{"exclusive, then shared", tree.LockRequest{Root: "d"}, tree.LockRequest{Root: "d", Shared: true}, true},
		{"below an infinite one", tree.LockRequest{Root: "d", Infinite: true}, tree.LockRequest{Root: "d/f"}, true},
		{"deep below an infinite one of the root", tree.LockRequest{Root: "", Infinite: true}, tree.LockRequest{Root: "d/e/g"}, true},
		{"nothing, below an infinite one", tree.LockRequest{Root: "d", Infinite: true}, tree.LockRequest{Root: "d/new"}, true},
		{"an infinite one above", tree.LockRequest{Root: "d/e/g"}, tree.LockRequest{Root: "d", Infinite: true}, true},
		{"a flat one above", tree.LockRequest{Root: "d/e/g"}, tree.LockRequest{Root: "d"}, false},
		{"below a flat one", tree.LockRequest{Root: "d"}, tree.LockRequest{Root: "d/f"}, false},
		{"beside", tree.LockRequest{Root: "d/f", Infinite: true}, tree.LockRequest{Root: "d/e", Infinite: true}, false},
		{"a name that only begins alike", tree.LockRequest{Root: "d", Infinite: true}, tree.LockRequest{Root: "dd"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := open(t, b, "d/", "d/f=1", "d/e/", "d/e/g=2", "dd/")
			first := f.lock(test.first)
			if !test.conflict {
				f.lock(test.second)
				return
			}
			f.unchanged("a Lock in conflict", func() {
				second := test.second
				second.Timeout = time.Hour
				_, _, err := f.Lock(f.ctx, second, tree.Condition{})
				if locked := new(tree.LockedError); !errors.As(err, &locked) || locked.Lock.Token != first.Token {
					t.Errorf("got error %v, want a LockedError with %+v", err, first)
				}
			})
		})
	}

	t.Run("they expire by the clock", func(t *testing.T) {
		f := open(t, b, "f=1")
		first := f.lock(tree.LockRequest{Root: "f", Timeout: time.Minute})
		f.clock.Advance(59 * time.Second)
		f.wantLocks("f", first)
		f.clock.Advance(time.Second)
		f.wantLocks("f")
		f.wantErr("Unlock", f.Unlock(f.ctx, "f", first.Token, tree.Condition{}), tree.ErrNoLock)
		_, err := f.Refresh(f.ctx, "f", []string{first.Token}, time.Hour, tree.Condition{})
		f.wantErr("Refresh", err, tree.ErrNoLock)
		second := f.lock(tree.LockRequest{Root: "f"})
		if second.Token == first.Token {
			t.Error("a token was used twice")
		}
	})
	t.Run("Refresh", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1", "g=2")
		l := f.lock(tree.LockRequest{Root: "d", Infinite: true, Owner: "me", Timeout: time.Minute})
		later := f.clock.Now().Add(time.Hour)
		for name, want := range map[string]error{"g": tree.ErrNoLock, "": tree.ErrNoLock, "d": nil, "d/f": nil} {
			got, err := f.Refresh(f.ctx, name, []string{"urn:another", l.Token}, time.Hour, tree.Condition{})
			f.wantErr(fmt.Sprintf("Refresh(%q)", name), err, want)
			if want == nil && (got.Token != l.Token || got.Owner != "me" || got.Root != "d" || !got.Expires.Equal(later)) {
				t.Errorf("Refresh(%q) = %+v", name, got)
			}
		}
		_, err := f.Refresh(f.ctx, "d", []string{"urn:another"}, time.Hour, tree.Condition{})
		f.wantErr("Refresh with another token", err, tree.ErrNoLock)
		_, err = f.Refresh(f.ctx, "d", nil, time.Hour, tree.Condition{})
		f.wantErr("Refresh without a token", err, tree.ErrNoLock)
		f.clock.Advance(30 * time.Minute)
		f.wantLocks("d/f", l)
	})
	t.Run("Unlock", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1", "g=2")
		l := f.lock(tree.LockRequest{Root: "d", Infinite: true})
		f.wantErr("Unlock of what it does not cover", f.Unlock(f.ctx, "g", l.Token, tree.Condition{}), tree.ErrNoLock)
		f.wantErr("Unlock from above", f.Unlock(f.ctx, "", l.Token, tree.Condition{}), tree.ErrNoLock)
		f.wantErr("Unlock with another token", f.Unlock(f.ctx, "d", "urn:another", tree.Condition{}), tree.ErrNoLock)
		refused := errors.New("refused")
		f.wantErr("a refused Unlock", f.Unlock(f.ctx, "d", l.Token, If(func(tree.View) error { return refused })), refused)
		f.wantLocks("d", l)
		f.wantErr("Unlock from below", f.Unlock(f.ctx, "d/f", l.Token, tree.Condition{}), nil)
		f.wantLocks("d")
		f.wantErr("Unlock again", f.Unlock(f.ctx, "d/f", l.Token, tree.Condition{}), tree.ErrNoLock)
	})
	t.Run("a lock on nothing makes an empty file", func(t *testing.T) {
		f := open(t, b, "d/", "f=1")
		l, created, err := f.Lock(f.ctx, tree.LockRequest{Root: "d/new", Timeout: time.Hour}, tree.Condition{})
		if err != nil || !created {
			t.Fatalf("got created %v, error %v", created, err)
		}
		f.wantTree("d/", "f=1", "d/new=")
		f.wantLocks("d/new", l)
		_, created, err = f.Lock(f.ctx, tree.LockRequest{Root: "f", Timeout: time.Hour}, tree.Condition{})
		if err != nil || created {
			t.Errorf("of a file: got created %v, error %v", created, err)
		}
		for _, name := range []string{"no/x", "f/x"} {
			_, _, err := f.Lock(f.ctx, tree.LockRequest{Root: name, Timeout: time.Hour}, tree.Condition{})
			f.wantErr(fmt.Sprintf("Lock(%q)", name), err, tree.ErrNoParent)
		}
	})
	t.Run("no write needs one, and content does not end it", func(t *testing.T) {
		f := open(t, b, "f=1")
		l := f.lock(tree.LockRequest{Root: "f"})
		f.put("f", "2")
		f.patch("f", set("a", "1"))
		f.wantLocks("f", l)
	})
	t.Run("Remove ends those of all it removes", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1", "d/e/", "g=2")
		f.lock(tree.LockRequest{Root: "d/f"})
		f.lock(tree.LockRequest{Root: "d/e"})
		stays := f.lock(tree.LockRequest{Root: "g"})
		above := f.lock(tree.LockRequest{Root: ""})
		f.wantErr("Remove", f.Remove(f.ctx, "d", tree.Condition{}), nil)
		f.lay("d/", "d/f=3", "d/e/")
		f.wantLocks("d")
		f.wantLocks("d/f")
		f.wantLocks("d/e")
		f.wantLocks("g", stays)
		f.wantLocks("", above)
	})
	t.Run("Move ends those of what goes, and of former members", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1", "e/", "e/g=2", "h=3")
		f.lock(tree.LockRequest{Root: "d", Infinite: true})
		f.lock(tree.LockRequest{Root: "e/g"})
		e := f.lock(tree.LockRequest{Root: "e"})
		stays := f.lock(tree.LockRequest{Root: "h"})
		if _, _, err := f.Move(f.ctx, "d", "e", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		f.wantLocks("e", e)
		f.wantLocks("e/f")
		f.wantLocks("h", stays)
		f.lay("d/", "d/f=1", "e/g=2")
		f.wantLocks("d/f")
		f.wantLocks("e/g")
	})
	for _, kind := range []string{"f=1", "f/"} {
		t.Run("a lock of the destination covers what is moved onto it: "+kind, func(t *testing.T) {
			f := open(t, b, kind, "g=2")
			f.lock(tree.LockRequest{Root: "f"})
			l := f.lock(tree.LockRequest{Root: "g", Infinite: true})
			if _, _, err := f.Move(f.ctx, "f", "g", tree.CopyOptions{}, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
			l.Collection = kind == "f/"
			f.wantLocks("g", l)
			f.lay("f=3")
			f.wantLocks("f")
		})
	}
	t.Run("Copy takes none along", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1")
		l := f.lock(tree.LockRequest{Root: "d", Infinite: true})
		if _, _, err := f.Copy(f.ctx, "d", "e", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		f.wantLocks("e")
		f.wantLocks("e/f")
		f.wantLocks("d/f", l)
	})
	t.Run("a lock of the destination outlives a Copy onto it", func(t *testing.T) {
		f := open(t, b, "f=1", "g=2")
		l := f.lock(tree.LockRequest{Root: "g"})
		if _, _, err := f.Copy(f.ctx, "f", "g", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		f.wantLocks("g", l)
	})
	t.Run("an owner is bounded", func(t *testing.T) {
		f := open(t, b, "f=1")
		f.unchanged("Lock", func() {
			_, _, err := f.Lock(f.ctx, tree.LockRequest{Root: "new", Owner: strings.Repeat("x", 1<<20), Timeout: time.Hour}, tree.Condition{})
			f.wantErr("Lock", err, tree.ErrNoSpace)
		})
	})
}

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
