package pgstore_test

import (
	"context"
	"io"
	"iter"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// clean makes a database that a test has used as good as new.
var clean = pgstore.CleanDatabase

// A replicas sends each call to the next of several stores of one tree.
type replicas struct {
	calls atomic.Uint64
	all   []*pgstore.Store
}

func (r *replicas) next() *pgstore.Store { return r.all[r.calls.Add(1)%uint64(len(r.all))] }

// dirPlace is a place for objects that each store of the conformance suite has for itself.
func dirPlace(t *testing.T) blobs.Store {
	dir, err := blobs.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// backend returns stores over PostgreSQL for the conformance suite: so many replicas, which are called in turn.
func backend(count int, inline int64, place func(*testing.T) blobs.Store) treetest.Backend {
	return treetest.Backend{
		Open: func(t *testing.T, now func() time.Time) (tree.Store, func() tree.Store) {
			dsn := pgtest.Shared(t).Database(t, clean)
			objects := place(t)
			r := &replicas{}
			migrated := false
			reopen := func() tree.Store {
				for _, s := range r.all {
					s.Close()
				}
				r.all = nil
				for range count {
					s, err := pgstore.Open(t.Context(), dsn, pgstore.Options{
						Blobs: objects, Inline: inline, Now: now, MaxConns: 8, Report: func(err error) { t.Log(err) },
						NoMigrate: migrated,
					})
					migrated = true
					if err != nil {
						t.Fatal(err)
					}
					r.all = append(r.all, s)
				}
				return r
			}
			t.Cleanup(func() {
				for _, s := range r.all {
					s.Close()
				}
			})
			return reopen(), reopen
		},
		EveryDate: "readers write nothing, so that each date of a version counts as shown",
	}
}

func TestOneReplica(t *testing.T) { treetest.Run(t, backend(1, math.MaxInt64-1, dirPlace)) }
func TestReplicas(t *testing.T)   { treetest.Run(t, backend(3, -1, dirPlace)) }

func (r *replicas) Stat(ctx context.Context, name string, opts tree.ReadOptions) (tree.State, error) {
	return r.next().Stat(ctx, name, opts)
}

func (r *replicas) List(
	ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	return r.next().List(ctx, dir, opts, cond)
}

func (r *replicas) Open(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (tree.Content, tree.State, error) {
	return r.next().Open(ctx, name, opts, cond)
}

func (r *replicas) Try(ctx context.Context, cond tree.Condition) error {
	return r.next().Try(ctx, cond)
}

func (r *replicas) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return r.next().Put(ctx, name, body, opts, cond)
}

func (r *replicas) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (tree.State, error) {
	return r.next().Mkdir(ctx, name, opts, cond)
}

func (r *replicas) Remove(ctx context.Context, name string, cond tree.Condition) error {
	return r.next().Remove(ctx, name, cond)
}

func (r *replicas) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return r.next().Move(ctx, from, to, opts, cond)
}

func (r *replicas) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return r.next().Copy(ctx, from, to, opts, cond)
}

func (r *replicas) Lock(ctx context.Context, req tree.LockRequest, cond tree.Condition) (tree.Lock, bool, error) {
	return r.next().Lock(ctx, req, cond)
}

func (r *replicas) Refresh(
	ctx context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition,
) (tree.Lock, error) {
	return r.next().Refresh(ctx, name, tokens, timeout, cond)
}

func (r *replicas) Unlock(ctx context.Context, name, token string, cond tree.Condition) error {
	return r.next().Unlock(ctx, name, token, cond)
}

func (r *replicas) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	return r.next().PatchProperties(ctx, name, patch, cond)
}

func (r *replicas) Versions(
	ctx context.Context, name string, opts tree.VersionOptions,
) iter.Seq2[tree.Version, error] {
	return r.next().Versions(ctx, name, opts)
}

func (r *replicas) OpenVersion(ctx context.Context, id string) (tree.Content, tree.Version, error) {
	return r.next().OpenVersion(ctx, id)
}

func (r *replicas) Restore(
	ctx context.Context, id, to string, opts tree.RestoreOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return r.next().Restore(ctx, id, to, opts, cond)
}

func (r *replicas) Now(ctx context.Context) (tree.Cursor, error) { return r.next().Now(ctx) }

func (r *replicas) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	return r.next().Changes(ctx, since, until)
}

func (r *replicas) Spelled(ctx context.Context, name string) (string, error) {
	return r.next().Spelled(ctx, name)
}

func (r *replicas) Quota(ctx context.Context, name string) (used, available int64, err error) {
	return r.next().Quota(ctx, name)
}

func (r *replicas) NewUpload(
	ctx context.Context, name string, opts tree.UploadOptions, cond tree.Condition,
) (tree.Upload, error) {
	return r.next().NewUpload(ctx, name, opts, cond)
}

func (r *replicas) OpenUpload(ctx context.Context, id string) (tree.Upload, error) {
	return r.next().OpenUpload(ctx, id)
}

func (r *replicas) Latest(ctx context.Context, name string) (tree.Change, error) {
	return r.next().Latest(ctx, name)
}
