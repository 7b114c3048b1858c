package handler

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// restless is a store in which a file has changed so often before it could be sent.
type restless struct {
	tree.Store
	changes int
}

func (s *restless) Open(ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition) (tree.Content, tree.State, error) {
	content, state, err := s.Store.Open(ctx, name, opts, cond)
	if s.changes == 0 || err != nil {
		return content, state, err
	}
	s.changes--
	content.Close()
	state.Tag = tree.TagOf([32]byte{byte(s.changes)})
	return changed{}, state, nil
}

// changed is a content of which nothing is sent, because the file has another version now.
type changed struct{ io.ReaderAt }

func (changed) WriteRange(context.Context, io.Writer, int64, int64) (int64, error) {
	return 0, tree.ErrChanged
}

func (changed) Close() error { return nil }

// A file that changes before its first byte was sent is read again. If it always changes, the answer does not have
// the header of another version.
func TestChangedBeforeItIsSent(t *testing.T) {
	for _, tt := range []struct {
		changes int
		status  int
		header  []string
	}{
		{0, 200, nil},
		{1, 200, nil},
		{readAgain, 200, nil},
		{readAgain, 206, []string{"Range: bytes=1-2"}},
		{1000, 503, nil},
		{1000, 503, []string{"Range: bytes=1-2", "Want-Repr-Digest: sha-512=1"}},
	} {
		store := storeInMemory(t, "f=content")
		h := newTestHandler(t, Config{Store: &restless{store, tt.changes}})
		got := ask(t, h, "GET", "/f", "", tt.header...)
		if got.Code != tt.status {
			t.Errorf("%d changes, %q: %d", tt.changes, tt.header, got.Code)
		}
		tag := tree.ETag(got.Header().Get("ETag"))
		switch {
		case tt.status == http.StatusServiceUnavailable:
			for _, name := range []string{"ETag", "Last-Modified", "Content-Range", "Repr-Digest", "Accept-Ranges"} {
				if value := got.Header().Get(name); value != "" {
					t.Errorf("%d changes, %q: %s: %s", tt.changes, tt.header, name, value)
				}
			}
			if got.Header().Get("Retry-After") == "" {
				t.Errorf("it is not told to come back: %v", got.Header())
			}
		case tag != tree.TagOf(sha256.Sum256([]byte("content"))) || tt.status == 200 && got.Body.String() != "content" || tt.status == 206 && got.Body.String() != "on":
			t.Errorf("%d changes, %q: %q with the tag %s", tt.changes, tt.header, got.Body, tag)
		}
	}
}
