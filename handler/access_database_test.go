package handler

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

var accessDatabase = flag.Bool("access-database", false, "run the tests of users and rules over a database, too")

// onDatabase skips a test that is about a database, unless it is asked for, and returns a function that makes trees.
func onDatabase(t *testing.T) func(t *testing.T, layout ...string) tree.Store {
	t.Helper()
	if !*accessDatabase {
		t.Skip("NOT RUN: -access-database is not given")
	}
	server := pgtest.Run(t)
	return func(t *testing.T, layout ...string) tree.Store {
		t.Helper()
		objects, err := blobs.NewDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		store, err := pgstore.Open(t.Context(), server.Database(t, nil), pgstore.Options{Blobs: objects, MaxConns: 2})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		lay(t, store, layout...)
		return store
	}
}

// TestAccessModelOverDatabase is TestAccessModel with a tree in a database.
func TestAccessModelOverDatabase(t *testing.T) {
	open, seed := onDatabase(t), uint64(15)
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, seed))}
	w.auth, w.config = openAuthority(t, "")
	w.store = open(t, modelLayout...)
	w.handler = newTestHandler(t, Config{Store: w.store, Auth: w.auth})
	w.run(*accessOps)
}

// TestNothingIsToldOverDatabase is TestNothingIsToldOfHidden with trees in a database. Those that a request may change would
// have to be made anew for each, so that these are left out.
func TestNothingIsToldOverDatabase(t *testing.T) {
	open := onDatabase(t)
	authority, _ := openAuthority(t, toldRules)
	worlds := map[string]lockedWorld{}
	for what, layout := range hiddenLayouts() {
		worlds[what] = lockWorld(t, newTestHandler(t, Config{Store: open(t, layout...), Auth: authority}), what)
	}
	names := slices.Sorted(maps.Keys(worlds))
	answers := 0
	for _, method := range toldMethods {
		for i := range toldHeaders("") {
			for _, path := range hiddenPaths {
				if strings.HasPrefix(path, "/open/") && !strings.Contains(path, "..") {
					continue
				}
				want, of := "", ""
				for _, what := range names {
					w := worlds[what]
					header := toldHeaders(w.token)[i]
					got := strings.ReplaceAll(wholeAnswer(t, w.Handler, "bob", method, path, bodyOf(method), header), w.token, "(token)")
					if want == "" {
						want, of = got, what
					}
					if answers++; got != want {
						t.Fatalf("%s %s with %q: with %s there:\n%s\nwith %s there:\n%s", method, path, header, what, got, of, want)
					}
				}
			}
		}
	}
	t.Logf("%d answers", answers)
}
