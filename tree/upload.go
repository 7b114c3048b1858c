package tree

import (
	"context"
	"io"
	"time"
)

// Uploads is a [Store] that also keeps bodies which arrive in several requests. An upload has no name in the tree until
// its Put. Its bytes and its state are as durable as a write is, and survive a restart.
type Uploads interface {
	// NewUpload begins an upload of Length bytes, and returns it with an ID that cannot be guessed. The name is the one
	// that its Put will have. If there is no room for it, or there are too many uploads, the error is [ErrNoSpace]. The
	// condition is asked before anything gives way to the upload.
	NewUpload(ctx context.Context, name string, opts UploadOptions, cond Condition) (Upload, error)

	// OpenUpload opens an upload, for one user at a time. The error is [ErrNotExist] if there is no such upload any
	// more, and [ErrBusy] as long as the upload is open already, here or in another process.
	OpenUpload(ctx context.Context, id string) (Upload, error)
}

// UploadOptions qualify a [Uploads.NewUpload].
type UploadOptions struct {
	Length int64 // of the whole body, in bytes
	// Note belongs to the caller, and is kept with the upload. It has at most MaxNote bytes.
	Note []byte
	// Expires is the time after which the store removes the upload.
	Expires time.Time
}

// MaxNote bounds the note of an upload, in bytes.
const MaxNote = 64 << 10

// An UploadState describes an upload.
type UploadState struct {
	ID      string
	Name    string // that its Put will have
	Length  int64  // of the whole body, in bytes
	Offset  int64  // the bytes that have arrived and are kept
	Note    []byte
	Expires time.Time
	// Tag is the tag of the version that Put has made, or "" before that. The upload keeps no bytes any more then.
	Tag ETag
}

// An Upload is an opened upload. Its methods must not be called concurrently. It must be closed.
type Upload interface {
	// State returns the state of the upload.
	State() UploadState

	// Append adds the bytes of body. What has arrived is kept even if body fails, which is a [BodyError], or if the
	// context ends: State has the new Offset, and the bytes before it are durable. More bytes than the Length are a
	// [BodyError], and so is an error of the Verify; then none of the bytes of this call are kept.
	Append(ctx context.Context, body io.Reader, opts AppendOptions) error

	// Put makes the body the content of a name, as [Store.Put] does: that of the upload, or another spelling of it in the
	// same collection. All of the body must have arrived. If Put fails, the name has the old version and the upload
	// stays, so that Put can be called again. opts.Length is ignored, and opts.Verify gets the SHA-256 alone.
	Put(ctx context.Context, name string, opts PutOptions, cond Condition) (s State, created bool, err error)

	// Remove removes the upload. It must be closed all the same.
	Remove(ctx context.Context) error

	Close() error
}

// AppendOptions qualify an [Upload.Append].
type AppendOptions struct {
	// Verify, if not nil, is called when body has been read to its end. If it fails, none of its bytes are kept, and
	// neither are they if body fails: what has arrived cannot be verified.
	Verify func() error
	// Expires, if not nil, returns the new time after which the store removes the upload. It is called whenever bytes have
	// been kept, because a body may come for longer than an upload without bytes is kept.
	Expires func() time.Time
	// Cond is asked before the store drops old versions to make room for the bytes.
	Cond Condition
}
