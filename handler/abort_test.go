package handler

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/spf13/afero"

	"ifmatch/etagfs"
	"ifmatch/fs"
)

// A request that is given up while its file is hashed must not be answered with the 200 that net/http makes of silence.
func TestGivenUpRequestIsCutOff(t *testing.T) {
	files := afero.NewMemMapFs()
	if err := afero.WriteFile(files, "cold", []byte("content"), 0o666); err != nil {
		t.Fatal(err)
	}
	below, err := fs.OpenAfero(files, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := etagfs.New(below, etagfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	h, err := New(Config{Store: store, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, giveUp := context.WithCancel(t.Context())
	giveUp()
	w := httptest.NewRecorder()
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("recovered %v, want http.ErrAbortHandler; the answer was %d", got, w.Code)
		}
	}()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "http://localhost/cold", nil))
}
