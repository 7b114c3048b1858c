package handler

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
)

// settledStore opens a directory whose files look as if they had not changed for a while. A fresh file could be
// hashed again each time.
func settledStore(b *testing.B, dir string, noSendfile bool) *etagfs.Store {
	b.Helper()
	later := func() time.Time { return time.Now().Add(time.Minute) }
	return storeOn(b, dir, fs.Options{ReadOnly: true}, etagfs.Options{Now: later, IndexDir: b.TempDir(), NoSendfile: noSendfile})
}

// BenchmarkGet downloads a file whose tag is known, over a connection that is kept: with sendfile, without, and from
// http.ServeContent, which is the measure and looks at nothing.
func BenchmarkGet(b *testing.B) {
	dir := b.TempDir()
	store, copying := settledStore(b, dir, false), settledStore(b, dir, true)
	for _, size := range []int64{1 << 10, 64 << 10, 1 << 20, 256 << 20} {
		file := filepath.Join(dir, fmt.Sprint(size))
		if err := os.WriteFile(file, make([]byte, size), 0o666); err != nil {
			b.Fatal(err)
		}
		for _, server := range []struct {
			name    string
			handler http.Handler
		}{
			{"ifmatch", newTestHandler(b, Config{Store: store, ReadOnly: true})},
			{"no sendfile", newTestHandler(b, Config{Store: copying, ReadOnly: true})},
			{"ServeContent", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				f, err := os.Open(filepath.Join(dir, r.URL.Path))
				if err != nil {
					http.NotFound(w, r)
					return
				}
				defer f.Close()
				w.Header().Set("Content-Type", "application/octet-stream")
				http.ServeContent(w, r, "", time.Time{}, f)
			})},
		} {
			b.Run(fmt.Sprintf("%s/%d", server.name, size), func(b *testing.B) {
				s := httptest.NewServer(server.handler)
				defer s.Close()
				client := s.Client()
				get := func() {
					answer, err := client.Get(fmt.Sprintf("%s/%d", s.URL, size))
					if err != nil {
						b.Fatal(err)
					}
					defer answer.Body.Close()
					if n, err := io.Copy(io.Discard, answer.Body); n != size || err != nil {
						b.Fatal(n, err)
					}
				}
				get() // the tag is known from here on
				b.SetBytes(size)
				for b.Loop() {
					get()
				}
			})
		}
	}
}
