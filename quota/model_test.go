package quota_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/quota"
	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestSumsByWalking does random operations through the store and on its disk. The sums are those that a walk finds, at
// each moment for operations alone, and as soon as the disk was looked at. Limits are never exceeded by operations.
func TestSumsByWalking(t *testing.T) {
	const operations, most = 500, 6000
	dir := t.TempDir()
	inner := openDirectory(t, dir)
	inner.Watched(func(context.Context) error { return nil })
	s := start(t, inner, quota.Options{Gather: time.Millisecond},
		limits.Limit{Path: "/", Max: 1 << 30}, limits.Limit{Path: "/{user}", Max: most},
		limits.Limit{Path: "/a/x", Max: 1500})
	u := user{t, s}
	await(t, s, "", 0)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	tops := []string{"a", "b", "c"}
	for _, top := range tops {
		u.mkdir(top)
	}
	// Names are in collections that exist, mostly: else nearly all operations fail.
	segments := []string{"x", "y", "z"}
	name := func() string {
		n := tops[r.IntN(len(tops))]
		for range 3 {
			n += "/" + segments[r.IntN(len(segments))]
			if at, err := s.Stat(t.Context(), n, tree.ReadOptions{}); r.IntN(3) == 0 || err != nil || !at.Collection {
				break
			}
		}
		return n
	}
	compare := func(what string, wait bool) {
		t.Helper()
		if wait {
			at, err := inner.Now(t.Context())
			u.must(err)
			for end := time.Now().Add(time.Minute); !s.Counted(at); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("after %s: %s", what, s.Dump())
				}
			}
		}
		for _, one := range []string{"", "a", "b", "c", "a/x"} {
			want := walked(t, s, one)
			if got := allowance(s, one); got.Used != want {
				t.Fatalf("after %s: %q: %d bytes count, and %d are there\n%s", what, one, got.Used, want, s.Dump())
			}
		}
	}
	outcomes := map[string]int{}
	others := 20
	if !inner.Abilities().FineTimes {
		t.Log("not run: changes on the disk, which this file system does not tell from those of the store")
		others = 18
	}
	for n := 0; n < operations || outcomes["full"] == 0 && n < 10*operations; n++ { // some seeds fill nothing at first
		one, other := name(), name()
		before := map[string]int64{}
		for _, top := range append(tops, "a/x") {
			before[top] = allowance(s, top).Used
		}
		size := sizeOf(t, s, "a/x") // another program may have made it larger than its limit
		what, err := "", error(nil)
		switch kind := r.IntN(others); {
		case kind < 6:
			bytes := r.IntN(2000)
			what, err = fmt.Sprintf("PUT %s %d", one, bytes), u.put(one, bytes)
		case kind < 8:
			_, err = s.Mkdir(t.Context(), one, tree.MkdirOptions{}, tree.Condition{})
			what = "MKCOL " + one
		case kind < 12:
			what, err = "COPY "+one+" "+other, u.copy(one, other)
		case kind < 16:
			what, err = "MOVE "+one+" "+other, u.move(one, other)
		case kind < 17:
			what, err = "DELETE "+one, u.remove(one)
		case kind < 18:
			_, _, err = s.Lock(t.Context(), tree.LockRequest{Root: one, Timeout: 1}, tree.Condition{})
			what = "LOCK " + one
		default:
			what = changeOnDisk(t, r, dir, inner, one, other)
			compare(what, true)
			continue
		}
		compare(what, false)
		for top, was := range before {
			limit := int64(most)
			if top == "a/x" {
				limit = 1500
			}
			if now := allowance(s, top).Used; now > limit && now > was {
				t.Fatalf("%s: %s has grown from %d to %d", what, top, was, now)
			}
		}
		if now := sizeOf(t, s, "a/x"); now > 1500 && now > size {
			t.Fatalf("%s: a file with the name of a limit of 1500 has grown from %d to %d", what, size, now)
		}
		switch {
		case err == nil:
			outcomes["done"]++
		case errors.Is(err, tree.ErrNoSpace):
			outcomes["full"]++
		default:
			outcomes["refused"]++
		}
	}
	t.Log(outcomes)
	if outcomes["done"] < operations/10 || outcomes["full"] == 0 {
		t.Errorf("%v: the test shows too little", outcomes)
	}
}

// sizeOf returns the bytes of a file, or 0.
func sizeOf(t *testing.T, s tree.Store, name string) int64 {
	t.Helper()
	at, err := s.Stat(t.Context(), name, tree.ReadOptions{})
	if err != nil || at.Collection || at.Link {
		return 0
	}
	return at.Size
}

func allowance(s *quota.Store, name string) tree.Allowance {
	for _, a := range s.Allowances(name) {
		if a.Name == name {
			return a
		}
	}
	return tree.Allowance{}
}

// changeOnDisk does what another program could do, and tells the store of it as a watcher does.
func changeOnDisk(t *testing.T, r *rand.Rand, dir string, s directory, one, other string) string {
	t.Helper()
	from, to := filepath.Join(dir, one), filepath.Join(dir, other)
	switch r.IntN(4) {
	case 0:
		os.WriteFile(from, make([]byte, r.IntN(900)), 0o600) // it fails where there is no such directory, or one has the name
		s.Changed(one)
		return "a file is written: " + one
	case 1:
		os.RemoveAll(from)
		s.Removed(one)
		return "it is removed: " + one
	case 2:
		os.MkdirAll(filepath.Join(from, "y"), 0o700)
		os.WriteFile(filepath.Join(from, "y", "z"), make([]byte, r.IntN(400)), 0o600)
		for name := one + "/y/z"; name != ""; name, _ = tree.Split(name) { // some may be new
			s.Changed(name)
		}
		return "a tree is made: " + one
	default:
		if os.Rename(from, to) == nil {
			s.Removed(one)
			s.Changed(other)
		}
		return "it is renamed: " + one + " to " + other
	}
}
