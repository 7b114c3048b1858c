// Package resumable has the uploads that arrive in parts, for [tree.Uploads].
//
// An upload is an [fs.Upload] with a record beside its bytes. A part is acknowledged when its bytes are on the disk,
// and after them the record with the offset and the state of the hash. So nothing is read twice: the next part goes on
// with that hash, also after a restart, and bytes behind the offset of the record are dropped.
package resumable

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	iofs "io/fs"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Limits bound the uploads that arrive in parts. Zero: no limit.
type Limits struct {
	Number int   // of uploads that are not complete
	Bytes  int64 // announced by all of them
}

const (
	// Checkpoint is after how many bytes of one part the bytes and the record are put on the disk, so that a crash
	// costs no more than these.
	Checkpoint = 32 << 20
	// finishedTime is how long the record of an upload stays after its Put, for a client that has not got the answer.
	finishedTime = time.Hour
	// maxFinished bounds these records.
	maxFinished = 1000
	// SweepTime is the time between two searches for expired uploads.
	SweepTime = time.Minute
	// damagedTime is the age from which an upload without a record is taken for the rest of a crash.
	damagedTime = time.Hour
)

// A record is the state of an upload on the disk, as JSON.
type record struct {
	Name    string    `json:"-"`
	Bytes   []byte    `json:"name"` // of the name: JSON has no string that is not UTF-8
	Length  int64     `json:"length"`
	Offset  int64     `json:"offset"`
	Expires time.Time `json:"expires"`
	Note    []byte    `json:"note,omitempty"`
	Hash    []byte    `json:"hash,omitempty"` // the state of a SHA-256 of the bytes before the offset
	Tag     tree.ETag `json:"tag,omitempty"`  // of the version that Put has made
}

func (r *record) isWhole() bool { return r.Offset == r.Length }

// A Body is a body that is staged, and on the disk.
type Body struct {
	Staged *fs.Staged
	Size   int64 // in bytes
	Sums   tree.Sums
}

// Uploads are the uploads of a store. All exported fields but Limits are needed.
type Uploads struct {
	FS     *fs.FS
	Store  tree.Store
	Limits func() Limits // nil: there are none
	Now    func() time.Time
	Report func(error)
	Once   *failure.Once
	// Put is Put of the store with a body that has arrived.
	Put func(ctx context.Context, name string, body Body, opts tree.PutOptions, cond tree.Condition) (tree.State, bool,
		error)

	mu         sync.Mutex
	unfinished map[string]unfinishedUpload // those that are not complete, by ID. Nil: they were not searched for yet
	finished   []string                    // the IDs of those that are complete, the oldest first
}

// An unfinished upload is counted. The client is not known after a restart.
type unfinishedUpload struct {
	length int64
	client string
}

// An upload implements [tree.Upload].
type upload struct {
	all  *Uploads
	file *fs.Upload
	id   string
	rec  record
	sum  hash.Hash
}

// New is NewUpload of [tree.Uploads].
func (all *Uploads) New(
	ctx context.Context, name string, opts tree.UploadOptions, cond tree.Condition,
) (tree.Upload, error) {
	switch {
	case all.FS.ReadOnly():
		return nil, tree.ErrReadOnly
	case name == "":
		return nil, tree.ErrIsCollection
	case len(opts.Note) > tree.MaxNote || opts.Length < 0:
		return nil, fmt.Errorf("an upload of %d bytes with a note of %d: %w", opts.Length, len(opts.Note),
			tree.ErrUnsupported)
	}
	id := rand.Text()
	all.load(ctx)
	if err := all.add(id, tree.ClientOf(ctx), opts.Length); err != nil {
		return nil, err
	}
	u := &upload{all: all, id: id, sum: sha256.New(), rec: record{
		Name: name, Length: opts.Length, Expires: opts.Expires, Note: opts.Note,
	}}
	var err error
	u.file, err = all.FS.NewUpload(ctx, id, room.Need{Name: name, Client: tree.ClientOf(ctx), Length: opts.Length,
		Ask: func() error { return all.Store.Try(ctx, cond) }})
	if err != nil {
		all.remove(id)
		return nil, failure.OfStaging(err)
	}
	if err = u.write(); err != nil {
		_ = u.Remove(ctx)
		_ = u.Close()
		return nil, err
	}
	return u, nil
}

// Open is OpenUpload of [tree.Uploads].
func (all *Uploads) Open(ctx context.Context, id string) (tree.Upload, error) {
	file, err := all.FS.OpenUpload(id)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, tree.ErrNotExist
	}
	if errors.Is(err, vfs.ErrBusy) {
		return nil, fmt.Errorf("another request goes on with the upload: %w", tree.ErrBusy)
	}
	if err != nil {
		return nil, failure.Of(err)
	}
	u := &upload{all: all, file: file, id: id, sum: sha256.New()}
	if err := u.load(ctx); err != nil {
		return nil, errors.Join(err, u.Close())
	}
	return u, nil
}

// load reads the record.
func (u *upload) load(ctx context.Context) error {
	data, err := u.file.ReadState()
	if err == nil && json.Unmarshal(data, &u.rec) != nil {
		err = fs.ErrDamaged
	}
	if err == nil && u.rec.Tag == "" && u.rec.Hash != nil &&
		u.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(u.rec.Hash) != nil {
		err = fs.ErrDamaged
	}
	if errors.Is(err, fs.ErrDamaged) {
		return fmt.Errorf("%w: %w", tree.ErrNotExist, err)
	}
	if err != nil {
		return failure.Of(err)
	}
	u.rec.Name = string(u.rec.Bytes)
	if u.rec.Tag == "" && !u.all.Now().Before(u.rec.Expires) {
		return tree.ErrNotExist
	}
	if u.rec.Tag != "" {
		return nil
	}
	has, err := u.file.HasData(ctx)
	if err != nil || has {
		return failure.Of(err)
	}
	return u.settle(ctx)
}

// settle finds out about an upload whose bytes are gone. If they arrived whole, the process has died after the commit
// and before it could write so. The version that is there shows that, unless another one has followed: then the upload
// does not exist any more, because to say that it was a success might be wrong.
func (u *upload) settle(ctx context.Context) error {
	if !u.rec.isWhole() {
		return tree.ErrNotExist
	}
	now, err := u.all.Store.Stat(ctx, u.rec.Name, tree.ReadOptions{Want: tree.WantTag})
	if err != nil || now.Tag != u.tag() {
		return tree.ErrNotExist
	}
	return u.finish(now.Tag)
}

func (u *upload) tag() tree.ETag { return tree.TagOf([sha256.Size]byte(u.sum.Sum(nil))) }

// State implements [tree.Upload].
func (u *upload) State() tree.UploadState {
	return tree.UploadState{
		ID: u.id, Name: u.rec.Name, Length: u.rec.Length, Offset: u.rec.Offset, Note: u.rec.Note,
		Expires: u.rec.Expires, Tag: u.rec.Tag,
	}
}

// write puts the record on the disk.
func (u *upload) write() (err error) {
	u.rec.Bytes = []byte(u.rec.Name)
	if u.rec.Hash, err = u.sum.(encoding.BinaryMarshaler).MarshalBinary(); err != nil {
		return err
	}
	data, err := json.Marshal(&u.rec)
	if err == nil {
		err = u.file.WriteState(data)
	}
	return failure.OfStaging(err)
}

// Put implements [tree.Upload].
func (u *upload) Put(
	ctx context.Context, name string, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	if !u.rec.isWhole() || u.rec.Tag != "" {
		return tree.State{}, false, fmt.Errorf("the upload is not at its end: %w", tree.ErrUnsupported)
	}
	dir, _ := tree.Split(u.rec.Name)
	if other, _ := tree.Split(name); other != dir || name == "" {
		return tree.State{}, false, fmt.Errorf("%q is not in the collection of %q: %w", name, u.rec.Name, tree.ErrBusy)
	}
	body := Body{u.file.Staged(), u.rec.Length, tree.Sums{crypto.SHA256: u.sum.Sum(nil)}}
	u.file.Ready(ctx, room.Need{Name: name, Client: tree.ClientOf(ctx), Length: u.rec.Length, Arrived: true,
		Ask: func() error { return u.all.Store.Try(ctx, cond) }})
	var err error
	if opts.Verify != nil {
		err = opts.Verify(body.Sums)
	}
	if err == nil {
		opts.Modified, err = body.Staged.TrySetModified(opts.Modified)
		err = failure.OfStaging(err)
	}
	if err != nil {
		return tree.State{}, false, err
	}
	state, created, err := u.all.Put(ctx, name, body, opts, cond)
	switch {
	case err == nil:
		// The commit is durable. Without the record, the next request finds no upload.
		u.all.tell(u.id, u.finish(u.tag()))
	case u.file.Committed():
		// It has happened and may not last, or a local program has taken the bytes. There is nothing to try again with.
		_ = u.Remove(ctx)
	}
	return state, created, err
}

// finish notes that the bytes have their name.
func (u *upload) finish(tag tree.ETag) error {
	u.rec.Tag, u.rec.Expires = tag, u.all.Now().Add(finishedTime)
	u.file.Finish()
	err := u.write()
	if err == nil && !u.file.Committed() {
		err = failure.OfStaging(u.file.DropData()) // the name had these bytes already
	}
	for _, id := range u.all.finish(u.id) {
		u.all.drop(id)
	}
	return err
}

// drop removes an upload that is not open.
func (all *Uploads) drop(id string) {
	if file, err := all.FS.OpenUpload(id); err == nil {
		all.tell(id, errors.Join(file.Remove(), file.Close()))
	}
}

func (all *Uploads) tell(id string, err error) {
	if err != nil {
		all.Report(fmt.Errorf("the upload %s stays: %w", id, err))
	}
}

// Remove implements [tree.Upload].
func (u *upload) Remove(context.Context) error {
	u.all.remove(u.id)
	return failure.OfStaging(u.file.Remove())
}

// Close implements [tree.Upload].
func (u *upload) Close() error { return failure.Of(u.file.Close()) }
