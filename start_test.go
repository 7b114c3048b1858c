package main

import (
	"flag"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/watcher/hints"
)

// contend is longer in .ci/run and .ci/long, which have more time.
var contend = flag.Duration("contend", 500*time.Millisecond, "duration of each test of many clients at once")

// serveNew serves a new directory as the program does, over real connections.
func serveNew(t *testing.T) (url string, client *http.Client) {
	t.Helper()
	return serveConfig(t, Config{Dir: t.TempDir()})
}

// serveConfig is serveNew of a configured server. A test may put decorators between the handler and the store.
func serveConfig(t *testing.T, cfg Config, decorate ...func(tree.Store) tree.Store) (url string, client *http.Client) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	opened, err := openBackend(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	var store tree.Store = opened
	for _, f := range decorate {
		store = f(store)
	}
	handler, err := newHandler(cfg, store, log)
	if err != nil {
		t.Fatal(err)
	}
	url, client = servertest.Serve(t, handler)
	t.Cleanup(hints.Watch(cfg.Dir, opened, hints.Options{Skip: stateName}, log))
	return url, client
}

// openForTest opens a store over a directory, with options that flags cannot set.
func openForTest(t *testing.T, dir string, opts fs.Options, storeOpts etagfs.Options) (*etagfs.Store, *fs.FS) {
	t.Helper()
	below, err := fs.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	store, err := etagfs.New(below, storeOpts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store, below
}
