package handler

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/handler/exchange"
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

// A client that is refused may stop sending its body, and wait for the end of the answer: over HTTP/2 net/http does. It is
// not made to wait until the server has given up on the body.
func TestRefusalOverHTTP2EndsTheAnswer(t *testing.T) {
	server := httptest.NewUnstartedServer(inMemory(t, Config{Exchange: exchange.Limits{DrainTime: time.Hour}}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	body, sending := io.Pipe()
	defer sending.Close()
	go io.Copy(sending, io.MultiReader(strings.NewReader("a beginning"), neverEnding{ctx}))
	request, err := http.NewRequestWithContext(ctx, "PUT", server.URL+"/f", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("If-Match", `"x"`)
	answer, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusPreconditionFailed {
		t.Errorf("%s, %v", answer.Status, err)
	}
}

// neverEnding has nothing to read, as long as its context lasts.
type neverEnding struct{ context.Context }

func (n neverEnding) Read([]byte) (int, error) {
	<-n.Done()
	return 0, n.Err()
}
