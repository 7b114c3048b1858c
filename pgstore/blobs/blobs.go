// Package blobs keeps contents as objects that never change. An object has a random identifier, which is never used
// again, so that the store below need not know conditions, renames or locks.
package blobs

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/url"

	"github.com/google/uuid"
)

// An ID names an object.
type ID = uuid.UUID

// Store is a place for objects. All methods may be called concurrently, by several processes. Each call ends within a
// time that the length of its bytes bounds.
type Store interface {
	// Create begins an object of a length in bytes (-1: it is not known). It exists when its Commit has returned.
	Create(ctx context.Context, id ID, length int64) (Writer, error)
	// Resume goes on with bytes that were kept, in this process or another. The object will be that of the writer's ID:
	// id, or the one that it was begun with.
	//
	// The caller takes a new id where an earlier writer may still be at work. That one cannot change the new object, or
	// the Commit of one of the two fails.
	Resume(ctx context.Context, id ID, length int64, kept Kept) (Writer, error)
	// Open opens n bytes of an object from an offset. The reader yields all of them, or an error before [io.EOF]. The
	// error is [io/fs.ErrNotExist] if the object is not there, and [ErrDamaged] if it does not have size bytes in
	// all.
	Open(ctx context.Context, id ID, size, offset, n int64) (io.ReadCloser, error)
	// Delete removes an object. It is no error if it is not there.
	Delete(ctx context.Context, id ID) error
	// Discard removes an object, and all that a writer has left that was not ended.
	Discard(ctx context.Context, id ID) error
	// List yields all objects.
	List(ctx context.Context) iter.Seq2[ID, error]
}

// Kept says how far an object on its way was kept.
type Kept struct {
	ID    ID     // of the writer
	Size  int64  // the bytes that are kept
	State []byte // of the store, or nil; at most some 500 KiB
}

// A Writer is an object on its way. Its bytes are written with the context of Create or Resume. One of Commit, Leave
// and Abort ends it, and Leave or Abort may follow a Commit that has failed.
type Writer interface {
	io.Writer
	// ID returns the identifier that the object will have.
	ID() ID
	// Commit returns when the bytes are durable. The sum is their SHA-256.
	Commit(ctx context.Context, sum [32]byte) error
	// Keep makes the bytes durable for a later Resume, in one process or another. The writer goes on. Some of the bytes
	// may have to be an object of their own meanwhile: tail returns an identifier for it.
	Keep(ctx context.Context, tail func() (ID, error)) (Kept, error)
	// Whole reports whether Keep needs no such object now. It is so at some multiple of [Step] at least, each 10,000th
	// part of the object, or more often.
	Whole() bool
	// Leave ends the writer without removing what was kept.
	Leave(ctx context.Context) error
	// Abort removes the object.
	Abort(ctx context.Context) error
}

// Step is the unit of the places at which a [Writer] may be whole, in bytes.
const Step = 1 << 20

var (
	// ErrAddress says that an address names no place for objects.
	ErrAddress = errors.New("name a directory that all replicas share, as dir:///srv/blobs, or a bucket, as " +
		"s3://bucket/prefix?endpoint=https://s3.example")
	// ErrDamaged says that an object does not have the bytes that it was given.
	ErrDamaged = errors.New("the object is damaged")
	// ErrBusy says that the memory for uploads is in use.
	ErrBusy = errors.New("the memory for uploads to S3 is in use")
)

// Open opens the place at an address.
func Open(address string) (Store, error) {
	at, err := url.Parse(address)
	switch {
	case err == nil && at.Scheme == "s3":
		opts, err := parseS3(at)
		if err != nil {
			return nil, err
		}
		return NewS3(opts)
	case err != nil || at.Scheme != "dir" || at.Host != "" || at.Path == "" || at.RawQuery != "":
		return nil, ErrAddress
	}
	return NewDir(at.Path)
}
