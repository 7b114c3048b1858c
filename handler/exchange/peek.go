package exchange

import (
	"crypto/sha256"
	"io"
	"net/http"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// maxPeek bounds the bodies, in bytes, that [Limits.Peek] reads.
const maxPeek = 64 << 10

// DefaultPeek bounds the time of [Limits.Peek]. A body that arrived with its header takes less. A client that holds
// its body back costs hardly any time.
const DefaultPeek = 100 * time.Millisecond

// Peek returns the ETag of a body that is refused without having been read, if the body is small, has arrived, and
// has the size of the current file. Otherwise it returns "". The body would be thrown away. Its ETag tells the client
// whether the file has the same content already. b is the body from [BodyOf].
func (l Limits) Peek(r *http.Request, b *Body, size int64) tree.ETag {
	possible := r.ContentLength == size || r.ContentLength < 0
	if !possible || size > min(maxPeek, l.DrainBytes-1) || r.Header.Get("Expect") != "" {
		return ""
	}
	if b != nil && (b.begun.Load() || !b.duplex) {
		return "" // the rest could not be read beside the answer
	}
	var tag tree.ETag
	done := make(chan struct{})
	go func() {
		defer close(done)
		hash := sha256.New()
		if n, err := io.Copy(hash, io.LimitReader(r.Body, size+1)); err == nil && n == size {
			tag = tree.TagOf([sha256.Size]byte(hash.Sum(nil)))
		}
	}()
	select {
	case <-done:
		return tag
	case <-time.After(l.PeekTime):
		return "" // the goroutine goes on to read until drain takes over
	}
}
