package monitor

import (
	"context"
	"errors"
	"io"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A measuredStore is a store whose changes are timed.
type measuredStore struct {
	Store
	tell func(operation string, took time.Duration) // called for each change that was made
}

// A Store is a store with all interfaces that the handler uses.
type Store interface {
	tree.Store
	// Start begins to watch what is served.
	Start()
	Close() error
	tree.Speller
	tree.Quotas
	tree.Feed
	tree.Uploads
	tree.Undoer
}

// note reports a change that began at a time, unless it failed.
func (m *measuredStore) note(operation string, start time.Time, err *error) {
	if *err == nil {
		m.tell(operation, time.Since(start))
	}
}

// Put implements [tree.Store]. The time in which the body comes is that of the client, so it is timed from its end.
func (m *measuredStore) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (s tree.State, created bool, err error) {
	timed := &timedReader{Reader: body, ended: time.Now()}
	s, created, err = m.Store.Put(ctx, name, timed, opts, cond)
	m.note("put", timed.ended, &err)
	return s, created, err
}

// A timedReader remembers when its end was read.
type timedReader struct {
	io.Reader
	ended time.Time
}

func (r *timedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		r.ended = time.Now()
	}
	return n, err
}

func (m *measuredStore) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (s tree.State, err error) {
	defer m.note("mkdir", time.Now(), &err)
	return m.Store.Mkdir(ctx, name, opts, cond)
}

func (m *measuredStore) Remove(ctx context.Context, name string, cond tree.Condition) (err error) {
	defer m.note("remove", time.Now(), &err)
	return m.Store.Remove(ctx, name, cond)
}

func (m *measuredStore) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (s tree.State, created bool, err error) {
	defer m.note("move", time.Now(), &err)
	return m.Store.Move(ctx, from, to, opts, cond)
}

func (m *measuredStore) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (s tree.State, created bool, err error) {
	defer m.note("copy", time.Now(), &err)
	return m.Store.Copy(ctx, from, to, opts, cond)
}

func (m *measuredStore) Lock(
	ctx context.Context, req tree.LockRequest, cond tree.Condition,
) (l tree.Lock, created bool, err error) {
	defer m.note("lock", time.Now(), &err)
	return m.Store.Lock(ctx, req, cond)
}

func (m *measuredStore) Unlock(ctx context.Context, name, token string, cond tree.Condition) (err error) {
	defer m.note("unlock", time.Now(), &err)
	return m.Store.Unlock(ctx, name, token, cond)
}

func (m *measuredStore) PatchProperties(
	ctx context.Context, name string, patch tree.Patch, cond tree.Condition,
) (err error) {
	defer m.note("patch", time.Now(), &err)
	return m.Store.PatchProperties(ctx, name, patch, cond)
}

// heldMeter returns a function that measures how long each commit holds its locks. Commits may overlap.
func heldMeter(tell func(time.Duration)) func() (end func()) {
	return func() (end func()) {
		taken := time.Now()
		return func() { tell(time.Since(taken)) }
	}
}

// Held returns the function that a store calls when a commit has its locks, and which returns the one that it calls
// before they are released. It returns nil if there is no admin listener.
func (m *Monitor) Held() func() (end func()) {
	if m == nil {
		return nil
	}
	return heldMeter(m.metrics.Held)
}
