package handler

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
)

// BenchmarkBasic asks for one file with a password and without, in turn, and tells how much more the first takes.
func BenchmarkBasic(b *testing.B) {
	dir := b.TempDir()
	users, config := filepath.Join(dir, "users"), filepath.Join(dir, "config")
	hash, err := auth.NewHash("pw")
	if err == nil {
		err = os.WriteFile(users, []byte("ann:"+hash+"\n"), 0o600)
	}
	if err == nil {
		err = os.WriteFile(config, []byte(openToAll), 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	authority, err := auth.Open(auth.Options{Users: users, Config: config})
	if err != nil {
		b.Fatal(err)
	}
	h, err := New(Config{Store: storeInMemory(b, "f=f"), Auth: authority, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	one := func(login bool) time.Duration {
		r := httptest.NewRequestWithContext(b.Context(), "GET", "http://localhost/f", nil)
		r.RemoteAddr = "127.0.0.1:5"
		if login {
			r.SetBasicAuth("ann", "pw")
		}
		w := httptest.NewRecorder()
		start := time.Now()
		h.ServeHTTP(w, r)
		took := time.Since(start)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
		return took
	}
	one(true)
	var with, without []time.Duration
	for b.Loop() {
		with = append(with, one(true))
		without = append(without, one(false))
	}
	slices.Sort(with) // other work of the machine does not disturb the median
	slices.Sort(without)
	median := without[b.N/2]
	b.ReportMetric(float64(with[b.N/2]-median)/1000, "µs-more/op")
	b.ReportMetric(float64(median)/1000, "µs-anonymous/op")
}
