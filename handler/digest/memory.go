package digest

import (
	"context"
	"crypto"
	"net/http"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

const (
	// maxRead bounds the bytes that are read to compute a digest that a client asks for.
	maxRead = 64 << 20
	// maxWithoutTurn is how many bytes are hashed without waiting for a turn. That takes about a millisecond.
	maxWithoutTurn = 1 << 20
	// maxRemembered bounds the digests that a [Memory] remembers.
	maxRemembered = 4096
)

// A Memory sets the digest fields of answers. It remembers each Repr-Digest that took reading a content by the ETag,
// which stands for the content, and computes it once for all requests that need it at the same time.
type Memory struct {
	turn func(context.Context) (release func(), err error)

	mu      sync.Mutex
	known   *lru.Cache[tree.ETag, string]
	running map[tree.ETag]chan struct{} // closed at the end
}

// NewMemory returns an empty memory. It calls turn before it reads much, and leaves the field out if that fails.
func NewMemory(turn func(context.Context) (release func(), err error)) *Memory {
	known, _ := lru.New[tree.ETag, string](maxRemembered) // fails only for a size below one
	return &Memory{turn: turn, known: known, running: map[tree.ETag]chan struct{}{}}
}

// SetFields sets the digest fields of the answer to a GET or HEAD: Repr-Digest of the whole version, whichever part
// of it is sent (RFC 9530 §3), and Content-Digest of the sent part, if the request asks for it. A field that cannot
// be computed before the deadline (the zero time: none) is left out.
func (m *Memory) SetFields(
	ctx context.Context, deadline time.Time, h http.Header, r *http.Request, content tree.Content, state tree.State,
	sent []tree.Part,
) {
	set := func(field string, of tree.Part, wanted preference) {
		if value := m.value(ctx, deadline, content, state, of, wanted); value != "" {
			h[field] = []string{value}
		}
	}
	set("Repr-Digest", tree.Part{Length: state.Size}, preferences(r.Header, "Want-Repr-Digest"))
	// The body of several parts also has the lines between them, and that of a HEAD is empty: no digest is of those.
	if wanted := preferences(r.Header, "Want-Content-Digest"); wanted.given && r.Method == http.MethodGet && len(sent) == 1 {
		set("Content-Digest", sent[0], wanted)
	}
}

// Keep remembers the digest of a content whose hashes are known.
func (m *Memory) Keep(sums tree.Sums) {
	if sum, ok := sums[crypto.SHA512]; ok && sums.Tag() != "" {
		m.known.Add(sums.Tag(), writeDigest(nameOf(crypto.SHA512), sum))
	}
}

// value returns the value of a digest field for a part of a content, or "" where there is none.
func (m *Memory) value(
	ctx context.Context, deadline time.Time, content tree.Content, state tree.State, of tree.Part, wanted preference,
) string {
	with := wanted.best(of.Length <= maxRead)
	whole := of.Length == state.Size
	switch {
	case with == 0:
		return ""
	case whole && with == crypto.SHA256:
		return digestOfTag(state.Tag)
	}
	if _, known := tree.SumOf(state.Tag); !known || of.Length > maxRead && !whole {
		return ""
	}
	ctx, cancel := tree.Patience(ctx, deadline)
	defer cancel()
	compute := func() string {
		if of.Length > maxWithoutTurn {
			release, err := m.turn(ctx)
			if err != nil {
				return ""
			}
			defer release()
		}
		hash := with.New()
		if _, err := content.WriteRange(ctx, hash, of.Offset, of.Length); err != nil {
			return ""
		}
		return writeDigest(nameOf(with), hash.Sum(nil))
	}
	if !whole {
		return compute()
	}
	return m.get(ctx, state.Tag, compute)
}

// get returns the value that is remembered for a tag, or computes it. While another request computes it, get waits for
// that one, and computes it itself if that one fails. It returns "" if compute does, or if the context ends.
func (m *Memory) get(ctx context.Context, tag tree.ETag, compute func() string) string {
	for {
		m.mu.Lock()
		value, ok := m.known.Get(tag)
		running := m.running[tag]
		if !ok && running == nil {
			m.running[tag] = make(chan struct{})
		}
		m.mu.Unlock()
		switch {
		case ok:
			return value
		case running == nil:
			return m.compute(tag, compute)
		}
		select {
		case <-running:
		case <-ctx.Done():
			return ""
		}
	}
}

func (m *Memory) compute(tag tree.ETag, compute func() string) (value string) {
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if value != "" {
			m.known.Add(tag, value)
		}
		close(m.running[tag])
		delete(m.running, tag)
	}()
	return compute()
}
