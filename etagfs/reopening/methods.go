package reopening

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/spelling"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The methods of a [Store]. Each calls the same method of the store that is open now.

// call returns the result of a method. If the transaction of the method found that the directory is no longer served,
// call calls the method again with the store that took its place.
func call[T any](r *Store, how access, method func(s *etagfs.Store) (T, error)) (result T, err error) {
	for {
		o, err := r.use(how)
		if err != nil {
			return result, err
		}
		result, err = method(o.Store)
		gone := how == forCommit && errors.Is(err, tree.ErrUnavailable) && !errors.Is(err, tree.ErrUnsure) &&
			r.absent(o, how) != nil
		o.leave()
		if !gone {
			return result, err
		}
		how = forWriting
	}
}

// change is [call] for a method that also reports whether a name is new.
func change[T any](
	r *Store, how access, method func(*etagfs.Store) (T, bool, error),
) (result T, created bool, err error) {
	result, err = call(r, how, func(s *etagfs.Store) (result T, err error) {
		result, created, err = method(s)
		return result, err
	})
	return result, created, err
}

// do is [call] for a method without a result.
func (r *Store) do(how access, method func(s *etagfs.Store) error) error {
	_, err := call(r, how, func(s *etagfs.Store) (struct{}, error) { return struct{}{}, method(s) })
	return err
}

// sequence yields the values of the sequence that a method returns.
func sequence[T any](r *Store, method func(o *instance) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		o, err := r.use(forReading)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		defer o.leave()
		method(o)(yield)
	}
}

// opening returns a content that counts as a user of its store until it is closed.
func opening[T any](r *Store, method func(s *etagfs.Store) (tree.Content, T, error)) (tree.Content, T, error) {
	o, err := r.use(forReading)
	if err != nil {
		var none T
		return nil, none, err
	}
	content, about, err := method(o.Store)
	if _, ok := content.(tree.Bytes); ok || err != nil { // it needs nothing of its store
		o.leave()
		return content, about, err
	}
	return &keptContent{openedContent: content.(openedContent), of: o}, about, nil
}

// An onceRead records whether the reading of a body has begun.
type onceRead struct {
	io.Reader
	begun bool
}

func (o *onceRead) Read(p []byte) (int, error) {
	o.begun = true
	return o.Reader.Read(p)
}

type openedContent interface {
	tree.Content
	tree.PartedContent
}

type keptContent struct {
	openedContent
	of     *instance
	closed atomic.Bool
}

func (c *keptContent) Close() error {
	if !c.closed.Swap(true) {
		defer c.of.leave()
	}
	return c.openedContent.Close()
}

// Spelled implements [tree.Speller]. An ASCII name has only one spelling, so Spelled does not look at the disk. The
// next call finds out whether the directory is there.
func (r *Store) Spelled(ctx context.Context, name string) (string, error) {
	if spelling.IsASCII(name) {
		return name, nil
	}
	return call(r, forReading, func(s *etagfs.Store) (string, error) { return s.Spelled(ctx, name) })
}

// Quota implements [tree.Quotas].
func (r *Store) Quota(ctx context.Context, name string) (used, available int64, err error) {
	err = r.do(forReading, func(s *etagfs.Store) (err error) {
		used, available, err = s.Quota(ctx, name)
		return err
	})
	return used, available, err
}

// Stat implements [tree.Store].
func (r *Store) Stat(ctx context.Context, name string, opts tree.ReadOptions) (tree.State, error) {
	return call(r, forReading, func(s *etagfs.Store) (tree.State, error) { return s.Stat(ctx, name, opts) })
}

// List implements [tree.Store].
func (r *Store) List(
	ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	return sequence(r, func(o *instance) iter.Seq2[tree.State, error] { return o.List(ctx, dir, opts, cond) })
}

// Open implements [tree.Store].
func (r *Store) Open(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (tree.Content, tree.State, error) {
	return opening(r, func(s *etagfs.Store) (tree.Content, tree.State, error) { return s.Open(ctx, name, opts, cond) })
}

// Try implements [tree.Store].
func (r *Store) Try(ctx context.Context, cond tree.Condition) error {
	return r.do(forReading, func(s *etagfs.Store) error { return s.Try(ctx, cond) })
}

// Put implements [tree.Store].
func (r *Store) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	var failed error
	once := &onceRead{Reader: body}
	return change(r, forCommit, func(s *etagfs.Store) (state tree.State, created bool, err error) {
		if once.begun {
			return state, false, failed // the body cannot be read again
		}
		state, created, failed = s.Put(ctx, name, once, opts, cond)
		return state, created, failed
	})
}

// Mkdir implements [tree.Store].
func (r *Store) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (tree.State, error) {
	return call(r, forCommit, func(s *etagfs.Store) (tree.State, error) { return s.Mkdir(ctx, name, opts, cond) })
}

// Remove implements [tree.Store].
func (r *Store) Remove(ctx context.Context, name string, cond tree.Condition) error {
	return r.do(forCommit, func(s *etagfs.Store) error { return s.Remove(ctx, name, cond) })
}

// Move implements [tree.Store].
func (r *Store) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return change(r, forCommit, func(s *etagfs.Store) (tree.State, bool, error) {
		return s.Move(ctx, from, to, opts, cond)
	})
}

// Copy implements [tree.Store].
func (r *Store) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return change(r, forWriting, func(s *etagfs.Store) (tree.State, bool, error) {
		return s.Copy(ctx, from, to, opts, cond)
	})
}

// Lock implements [tree.Store].
func (r *Store) Lock(ctx context.Context, req tree.LockRequest, cond tree.Condition) (tree.Lock, bool, error) {
	return change(r, forWriting, func(s *etagfs.Store) (tree.Lock, bool, error) { return s.Lock(ctx, req, cond) })
}

// Refresh implements [tree.Store].
func (r *Store) Refresh(
	ctx context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition,
) (tree.Lock, error) {
	return call(r, forCommit, func(s *etagfs.Store) (tree.Lock, error) {
		return s.Refresh(ctx, name, tokens, timeout, cond)
	})
}

// Unlock implements [tree.Store].
func (r *Store) Unlock(ctx context.Context, name, token string, cond tree.Condition) error {
	return r.do(forCommit, func(s *etagfs.Store) error { return s.Unlock(ctx, name, token, cond) })
}

// PatchProperties implements [tree.Store].
func (r *Store) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	return r.do(forCommit, func(s *etagfs.Store) error { return s.PatchProperties(ctx, name, patch, cond) })
}

// Versions implements [tree.Store].
func (r *Store) Versions(
	ctx context.Context, name string, opts tree.VersionOptions,
) iter.Seq2[tree.Version, error] {
	return sequence(r, func(o *instance) iter.Seq2[tree.Version, error] { return o.Versions(ctx, name, opts) })
}

// OpenVersion implements [tree.Store].
func (r *Store) OpenVersion(ctx context.Context, id string) (tree.Content, tree.Version, error) {
	return opening(r, func(s *etagfs.Store) (tree.Content, tree.Version, error) { return s.OpenVersion(ctx, id) })
}

// Restore implements [tree.Store].
func (r *Store) Restore(
	ctx context.Context, id, to string, opts tree.RestoreOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return change(r, forWriting, func(s *etagfs.Store) (tree.State, bool, error) {
		return s.Restore(ctx, id, to, opts, cond)
	})
}

// NewUpload implements [tree.Uploads].
func (r *Store) NewUpload(
	ctx context.Context, name string, opts tree.UploadOptions, cond tree.Condition,
) (tree.Upload, error) {
	return r.upload(func(s *etagfs.Store) (tree.Upload, error) { return s.NewUpload(ctx, name, opts, cond) })
}

// OpenUpload implements [tree.Uploads].
func (r *Store) OpenUpload(ctx context.Context, id string) (tree.Upload, error) {
	return r.upload(func(s *etagfs.Store) (tree.Upload, error) { return s.OpenUpload(ctx, id) })
}

// upload returns an upload that counts as a user of its store until it is closed.
func (r *Store) upload(method func(s *etagfs.Store) (tree.Upload, error)) (tree.Upload, error) {
	o, err := r.use(forWriting)
	if err != nil {
		return nil, err
	}
	u, err := method(o.Store)
	if err != nil {
		o.leave()
		return nil, err
	}
	return &keptUpload{Upload: u, of: o}, nil
}

type keptUpload struct {
	tree.Upload
	of *instance
}

func (u *keptUpload) Close() error {
	defer u.of.leave()
	return u.Upload.Close()
}

// Now implements [tree.Feed].
func (r *Store) Now(ctx context.Context) (tree.Cursor, error) {
	return call(r, forReading, func(s *etagfs.Store) (tree.Cursor, error) { return s.Now(ctx) })
}

// Latest implements [tree.Feed].
func (r *Store) Latest(ctx context.Context, name string) (tree.Change, error) {
	return call(r, forReading, func(s *etagfs.Store) (tree.Change, error) { return s.Latest(ctx, name) })
}

// Changes implements [tree.Feed]. It ends with [tree.ErrUnavailable] when the directory is replaced.
func (r *Store) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	return sequence(r, func(o *instance) iter.Seq2[tree.Change, error] {
		return func(yield func(tree.Change, error) bool) {
			served, cancel := context.WithCancelCause(ctx)
			var ended sync.WaitGroup
			defer ended.Wait()
			defer cancel(nil)
			ended.Go(func() {
				select {
				case <-served.Done():
				case <-o.replaced:
					cancel(unavailable(errMissing))
				}
			})
			for c, err := range o.Store.Changes(served, since, until) {
				if err != nil && served.Err() != nil {
					err = context.Cause(served)
				}
				if !yield(c, err) {
					return
				}
			}
		}
	})
}

// Figures returns the figures of the directory that is served now.
func (r *Store) Figures() etagfs.Figures { return r.Current().Figures() }

// RestoreAt implements [tree.Undoer].
func (r *Store) RestoreAt(
	ctx context.Context, name string, at time.Time, opts tree.RestoreAtOptions,
) (tree.Restored, error) {
	return call(r, forWriting, func(s *etagfs.Store) (tree.Restored, error) { return s.RestoreAt(ctx, name, at, opts) })
}
