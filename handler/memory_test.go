package handler

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
)

// inMemory returns a handler of a tree in memory with this layout: "d/" is a collection, "f=content" a file.
func inMemory(t testing.TB, config Config, layout ...string) http.Handler {
	t.Helper()
	config.Store = storeInMemory(t, layout...)
	return newTestHandler(t, config)
}

// storeInMemory returns a store with this layout. It refuses a condition that looks at a name which it does not have.
func storeInMemory(t testing.TB, layout ...string) *memtree.Store {
	t.Helper()
	store := memtree.New(memtree.Options{})
	lay(t, store, layout...)
	return store
}

// inMemoryWith is inMemory of a directory in memory, whose calls can fail.
func inMemoryWith(t testing.TB, opts fs.Options, config Config, layout ...string) http.Handler {
	t.Helper()
	config.Store = dirInMemory(t, opts, layout...)
	return newTestHandler(t, config)
}

func dirInMemory(t testing.TB, opts fs.Options, layout ...string) *etagfs.Store {
	t.Helper()
	below, err := fs.OpenAfero(afero.NewMemMapFs(), opts)
	if err != nil {
		t.Fatal(err)
	}
	store, err := etagfs.New(below, etagfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	lay(t, store, layout...)
	return store
}

func lay(t testing.TB, store tree.Store, layout ...string) {
	t.Helper()
	for _, line := range layout {
		var err error
		if name, ok := strings.CutSuffix(line, "/"); ok {
			_, err = store.Mkdir(t.Context(), name, tree.MkdirOptions{}, tree.Condition{})
		} else {
			name, content, _ := strings.Cut(line, "=")
			_, _, err = store.Put(t.Context(), name, strings.NewReader(content), tree.PutOptions{Length: -1}, tree.Condition{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// storeOn opens a directory on the disk.
func storeOn(t testing.TB, dir string, opts fs.Options, more etagfs.Options) *etagfs.Store {
	t.Helper()
	below, err := fs.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	store, err := etagfs.New(below, more)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func newTestHandler(t testing.TB, config Config) http.Handler {
	t.Helper()
	config.Log = slog.New(slog.DiscardHandler)
	h, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// ask sends a request whose header is written as lines.
func ask(t *testing.T, h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost"+target, strings.NewReader(body))
	for _, line := range header {
		name, value, _ := strings.Cut(line, ":")
		r.Header.Add(name, strings.TrimSpace(value))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
