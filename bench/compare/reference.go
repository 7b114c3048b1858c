package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/webdav"
)

// serveReference is this program as one of the servers: "xnet" is golang.org/x/net/webdav as its documentation shows
// it, and "bare" the least that net/http takes to answer a GET. args are its name, the directory, the
// address, and the files of a certificate.
func serveReference(ctx context.Context, args []string) error {
	if len(args) != 5 {
		return errors.New("-serve takes xnet or bare, a directory, an address, and two files for TLS or two empty names")
	}
	var h http.Handler
	switch args[0] {
	case "xnet":
		h = &webdav.Handler{FileSystem: webdav.Dir(args[1]), LockSystem: webdav.NewMemLS()}
	case "bare":
		h = &bare{dir: args[1]}
	default:
		return fmt.Errorf("-serve knows no %q", args[0])
	}
	server := &http.Server{Addr: args[2], Handler: h}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	serve := server.ListenAndServe
	if args[3] != "" {
		serve = func() error { return server.ListenAndServeTLS(args[3], args[4]) }
	}
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// A bare server keeps small files in memory, has the kernel send large ones, and tells the same tag for all.
type bare struct {
	dir   string
	small sync.Map // name → []byte
}

const (
	bareTag   = `"constant"`
	bareSmall = 128 << 10
)

func (b *bare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("ETag", bareTag)
	if r.Header.Get("If-None-Match") == bareTag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/octet-stream")
	if body, ok := b.small.Load(r.URL.Path); ok {
		b.write(w, body.([]byte))
		return
	}
	f, err := os.Open(filepath.Join(b.dir, filepath.FromSlash(filepath.Clean(r.URL.Path))))
	if err != nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil || info.IsDir():
		http.Error(w, "no file", http.StatusNotFound)
	case info.Size() > bareSmall:
		http.ServeContent(w, r, "", time.Time{}, f)
	default:
		body, err := io.ReadAll(f)
		if err != nil {
			http.Error(w, "not read", http.StatusInternalServerError)
			return
		}
		b.small.Store(r.URL.Path, bytes.Clone(body))
		b.write(w, body)
	}
}

func (b *bare) write(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // a client that is gone needs no answer
}
