package handler

import (
	"crypto/sha256"
	"io"
	"time"

	"ifmatch/tree"
)

// glanceBytes bounds the bodies that are glanced at.
const glanceBytes = 64 << 10

// defaultGlance is how long a glance lasts at the most: as good as not at all for one whose client holds it back, and
// long enough for one that has arrived with its header.
const defaultGlance = 100 * time.Millisecond

// glance returns the tag of a body that is refused without having been read, if that is small, has arrived, and can be
// what is there, of this size. It would be thrown away otherwise, and tells the client whether somebody has written the
// same.
func (s *server) glance(r *request, size int64) tree.ETag {
	possible := r.ContentLength == size || r.ContentLength < 0
	if r.sent == nil || !possible || size > min(glanceBytes, s.DrainBytes-1) || r.Header.Get("Expect") != "" {
		return ""
	}
	if b := r.sending; b != nil && (b.begun.Load() || !b.duplex) {
		return "" // what has not arrived could not be read beside the answer
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
	case <-time.After(s.glanceTime):
		return "" // what it reads on is read of the rest, see drain
	}
}
