package etagfs

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"ifmatch/tree"
)

// The methods of a [Reopening]. Each calls the same method of the store that is open now.

// call returns the result of a method. If the transaction of the method found that the directory is no longer served,
// call calls the method again with the store that took its place.
func call[T any](r *Reopening, how access, method func(s *Store) (T, error)) (result T, err error) {
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

// change is call for a method that also reports whether a name is new.
func change[T any](r *Reopening, how access, method func(*Store) (T, bool, error)) (result T, created bool, err error) {
	result, err = call(r, how, func(s *Store) (result T, err error) {
		result, created, err = method(s)
		return result, err
	})
	return result, created, err
}

// do is call for a method without a result.
func (r *Reopening) do(how access, method func(s *Store) error) error {
	_, err := call(r, how, func(s *Store) (struct{}, error) { return struct{}{}, method(s) })
	return err
}

// sequence yields the values of the sequence that a method returns.
func sequence[T any](r *Reopening, method func(s *Store) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		o, err := r.use(forReading)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		defer o.leave()
		method(o.Store)(yield)
	}
}

// opening returns a content that counts as a user of its store until it is closed.
func opening[T any](r *Reopening, method func(s *Store) (tree.Content, T, error)) (tree.Content, T, error) {
	o, err := r.use(forReading)
	if err != nil {
		var none T
		return nil, none, err
	}
	content, about, err := method(o.Store)
	if err != nil {
		o.leave()
		return nil, about, err
	}
	if small, ok := content.(smallContent); ok { // it needs nothing of its store
		o.leave()
		return small, about, nil
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
func (r *Reopening) Spelled(ctx context.Context, name string) (string, error) {
	if isASCII(name) {
		return name, nil
	}
	return call(r, forReading, func(s *Store) (string, error) { return s.Spelled(ctx, name) })
}

// Quota implements [tree.Quotas].
func (r *Reopening) Quota(ctx context.Context, name string) (used, available int64, err error) {
	err = r.do(forReading, func(s *Store) (err error) {
		used, available, err = s.Quota(ctx, name)
		return err
	})
	return used, available, err
}

// Stat implements [tree.Store].
func (r *Reopening) Stat(ctx context.Context, name string, opts tree.ReadOptions) (tree.State, error) {
	return call(r, forReading, func(s *Store) (tree.State, error) { return s.Stat(ctx, name, opts) })
}

// List implements [tree.Store].
func (r *Reopening) List(
	ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	return sequence(r, func(s *Store) iter.Seq2[tree.State, error] { return s.List(ctx, dir, opts, cond) })
}

// Open implements [tree.Store].
func (r *Reopening) Open(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (tree.Content, tree.State, error) {
	return opening(r, func(s *Store) (tree.Content, tree.State, error) { return s.Open(ctx, name, opts, cond) })
}

// Try implements [tree.Store].
func (r *Reopening) Try(ctx context.Context, cond tree.Condition) error {
	return r.do(forReading, func(s *Store) error { return s.Try(ctx, cond) })
}

// Put implements [tree.Store].
func (r *Reopening) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	var failed error
	once := &onceRead{Reader: body}
	return change(r, forCommit, func(s *Store) (state tree.State, created bool, err error) {
		if once.begun {
			return state, false, failed // the body cannot be read again
		}
		state, created, failed = s.Put(ctx, name, once, opts, cond)
		return state, created, failed
	})
}

// Mkdir implements [tree.Store].
func (r *Reopening) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (tree.State, error) {
	return call(r, forCommit, func(s *Store) (tree.State, error) { return s.Mkdir(ctx, name, opts, cond) })
}

// Remove implements [tree.Store].
func (r *Reopening) Remove(ctx context.Context, name string, cond tree.Condition) error {
	return r.do(forCommit, func(s *Store) error { return s.Remove(ctx, name, cond) })
}

// Move implements [tree.Store].
func (r *Reopening) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return change(r, forCommit, func(s *Store) (tree.State, bool, error) { return s.Move(ctx, from, to, opts, cond) })
}

// Copy implements [tree.Store].
func (r *Reopening) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return change(r, forWriting, func(s *Store) (tree.State, bool, error) { return s.Copy(ctx, from, to, opts, cond) })
}

// Lock implements [tree.Store].
func (r *Reopening) Lock(ctx context.Context, req tree.LockRequest, cond tree.Condition) (tree.Lock, bool, error) {
	return change(r, forWriting, func(s *Store) (tree.Lock, bool, error) { return s.Lock(ctx, req, cond) })
}

// Refresh implements [tree.Store].
func (r *Reopening) Refresh(
	ctx context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition,
) (tree.Lock, error) {
	return call(r, forCommit, func(s *Store) (tree.Lock, error) { return s.Refresh(ctx, name, tokens, timeout, cond) })
}

// Unlock implements [tree.Store].
func (r *Reopening) Unlock(ctx context.Context, name, token string, cond tree.Condition) error {
	return r.do(forCommit, func(s *Store) error { return s.Unlock(ctx, name, token, cond) })
}

// PatchProperties implements [tree.Store].
func (r *Reopening) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	return r.do(forCommit, func(s *Store) error { return s.PatchProperties(ctx, name, patch, cond) })
}

// Versions implements [tree.Store].
func (r *Reopening) Versions(
	ctx context.Context, name string, opts tree.VersionOptions,
) iter.Seq2[tree.Version, error] {
	return sequence(r, func(s *Store) iter.Seq2[tree.Version, error] { return s.Versions(ctx, name, opts) })
}

// OpenVersion implements [tree.Store].
func (r *Reopening) OpenVersion(ctx context.Context, id string) (tree.Content, tree.Version, error) {
	return opening(r, func(s *Store) (tree.Content, tree.Version, error) { return s.OpenVersion(ctx, id) })
}

// Restore implements [tree.Store].
func (r *Reopening) Restore(
	ctx context.Context, id, to string, opts tree.RestoreOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return change(r, forWriting, func(s *Store) (tree.State, bool, error) { return s.Restore(ctx, id, to, opts, cond) })
}

// NewUpload implements [tree.Uploads].
func (r *Reopening) NewUpload(
	ctx context.Context, name string, opts tree.UploadOptions, cond tree.Condition,
) (tree.Upload, error) {
	return r.upload(func(s *Store) (tree.Upload, error) { return s.NewUpload(ctx, name, opts, cond) })
}

// OpenUpload implements [tree.Uploads].
func (r *Reopening) OpenUpload(ctx context.Context, id string) (tree.Upload, error) {
	return r.upload(func(s *Store) (tree.Upload, error) { return s.OpenUpload(ctx, id) })
}

// upload returns an upload that counts as a user of its store until it is closed.
func (r *Reopening) upload(method func(s *Store) (tree.Upload, error)) (tree.Upload, error) {
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
func (r *Reopening) Now(ctx context.Context) (tree.Cursor, error) {
	return call(r, forReading, func(s *Store) (tree.Cursor, error) { return s.Now(ctx) })
}

// Changes implements [tree.Feed]. It ends with [tree.ErrUnavailable] when the directory is replaced.
func (r *Reopening) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	return func(yield func(tree.Change, error) bool) {
		o, err := r.use(forReading)
		if err != nil {
			yield(tree.Change{}, err)
			return
		}
		defer o.leave()
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
}
