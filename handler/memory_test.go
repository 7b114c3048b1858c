package handler

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/afero"

	"ifmatch/etagfs"
	"ifmatch/fs"
)

// inMemory returns a handler of an empty tree in memory.
func inMemory(t *testing.T, config Config) http.Handler {
	t.Helper()
	below, err := fs.OpenAfero(afero.NewMemMapFs(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := etagfs.New(below, etagfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	config.Store, config.Log = store, slog.New(slog.DiscardHandler)
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
