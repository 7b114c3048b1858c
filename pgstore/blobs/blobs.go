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

// Store is a place for objects. All methods may be called concurrently, by several processes.
type Store interface {
	// Create begins an object. It exists when its Commit has returned.
	Create(ctx context.Context, id ID) (Writer, error)
	// Resume goes on with an object that was begun, and not committed. It has size bytes then, if so many had been
	// synced.
	Resume(ctx context.Context, id ID, size int64) (Writer, error)
	// Open opens an object. The error is [io/fs.ErrNotExist] if it is not there.
	Open(ctx context.Context, id ID) (Object, error)
	// Delete removes an object. It is no error if it is not there.
	Delete(ctx context.Context, id ID) error
	// List yields all objects.
	List(ctx context.Context) iter.Seq2[ID, error]
}

// A Writer is an object on its way. One of Commit, Keep and Abort ends it.
type Writer interface {
	io.Writer
	// Commit returns when the bytes are durable.
	Commit() error
	// Keep makes the bytes durable for a later Resume.
	Keep() error
	// Abort removes the object.
	Abort() error
}

// An Object is an opened object.
type Object interface {
	io.ReaderAt
	io.Closer
}

// ErrAddress says that an address names no place for objects.
var ErrAddress = errors.New("name a directory that all replicas share, as dir:///srv/blobs")

// Open opens the place at an address.
func Open(address string) (Store, error) {
	at, err := url.Parse(address)
	if err != nil || at.Scheme != "dir" || at.Host != "" || at.Path == "" || at.RawQuery != "" {
		return nil, ErrAddress
	}
	return NewDir(at.Path)
}
