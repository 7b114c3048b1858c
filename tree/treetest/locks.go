package treetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// lock takes a lock for a client and a user. It expires after an hour, if the request has no other timeout.
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

// wantLocks compares the locks that cover a name, in any order, as Stat and a View return them.
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
