package pgstore

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

const (
	maxUploads = 1024             // unfinished ones
	lease      = time.Minute      // for which an upload stays open without a sign of life
	keepEvery  = 10 * time.Second // how often arrived bytes are made durable
)

var _ tree.Uploads = (*Store)(nil)

// An upload is a body that arrives in several requests, at any replica. Its bytes are an object on its way. One handle
// at a time holds it, by a lease.
type upload struct {
	s      *Store
	holder uuid.UUID
	blob   uuid.UUID
	sum    hash.Hash
	state  tree.UploadState
}

// NewUpload implements [tree.Uploads].
func (s *Store) NewUpload(
	ctx context.Context, name string, opts tree.UploadOptions, cond tree.Condition,
) (tree.Upload, error) {
	switch {
	case name == "":
		return nil, about(name, tree.ErrIsCollection)
	case len(opts.Note) > tree.MaxNote:
		return nil, fmt.Errorf("the note of an upload has %d bytes", len(opts.Note))
	case s.opts.Blobs == nil:
		return nil, &tree.StorageError{Kind: tree.ErrUnsupported,
			Hint: "there is no place for large contents; start the server with --blobs"}
	}
	if err := errors.Join(checkNames([]string{name}), s.Try(ctx, cond)); err != nil {
		return nil, err
	}
	u := &upload{s: s, holder: uuid.New(), blob: uuid.Must(uuid.NewV7()), sum: sha256.New()}
	u.state = tree.UploadState{ID: rand.Text(), Name: name, Length: opts.Length, Note: opts.Note, Expires: opts.Expires}
	state, err := u.sum.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, err
	}
	note := opts.Note
	if note == nil {
		note = []byte{}
	}
	answer, err := s.pool.Exec(ctx, `insert into ifmatch.upload (id, path, length, hash, blob, note, holder, held_until, expires)
 select $1, $2, $3, $4, $5, $6, $7, now() + $8, $9 where (select count(*) from ifmatch.upload where sha256 is null) < $10`,
		u.state.ID, []byte(name), opts.Length, state, u.blob, note, u.holder, lease, opts.Expires, maxUploads)
	if err == nil && answer.RowsAffected() == 0 {
		return nil, &tree.StorageError{Kind: tree.ErrNoSpace, Hint: "there are too many unfinished uploads; try again later"}
	}
	return u, translate(err)
}

// OpenUpload implements [tree.Uploads].
func (s *Store) OpenUpload(ctx context.Context, id string) (tree.Upload, error) {
	u := &upload{s: s, holder: uuid.New(), sum: sha256.New()}
	var path, state, sum []byte
	err := s.pool.QueryRow(ctx, `update ifmatch.upload set holder = $2, held_until = now() + $3
 where id = $1 and expires > coalesce($4, now()) and held_until < now()
 returning path, length, received, hash, blob, note, sha256, expires`, id, u.holder, lease, s.clock()).
		Scan(&path, &u.state.Length, &u.state.Offset, &state, &u.blob, &u.state.Note, &sum, &u.state.Expires)
	if errors.Is(err, pgx.ErrNoRows) {
		var held bool
		err = s.pool.QueryRow(ctx, "select exists(select from ifmatch.upload where id = $1 and expires > coalesce($2, now()))",
			id, s.clock()).Scan(&held)
		if err == nil {
			err = fmt.Errorf("the upload %q: %w", id, map[bool]error{true: tree.ErrBusy, false: tree.ErrNotExist}[held])
		}
	}
	if err != nil {
		return nil, translate(err)
	}
	if u.state.ID, u.state.Name = id, string(path); sum != nil {
		u.state.Tag = tree.TagOf([32]byte(sum))
	}
	return u, u.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(state)
}

// State implements [tree.Upload].
func (u *upload) State() tree.UploadState { return u.state }

// Close implements [tree.Upload].
func (u *upload) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := u.s.pool.Exec(ctx, "update ifmatch.upload set held_until = '-infinity' where id = $1 and holder = $2",
		u.state.ID, u.holder)
	return translate(err)
}

// Remove implements [tree.Upload]. Bytes that are whole may have a name by now, so the janitor decides about them.
func (u *upload) Remove(ctx context.Context) error {
	var whole bool
	err := u.s.pool.QueryRow(ctx, `with u as (delete from ifmatch.upload where id = $1 and holder = $2
 returning blob, received = length as whole),
 d as (insert into ifmatch.dead (blob, place, since) select blob, 'o', coalesce($3, now()) from u`+noted+`)
 select whole from u`, u.state.ID, u.holder, u.s.clock()).Scan(&whole)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && whole {
		return nil
	}
	if err == nil {
		u.s.abandon(ctx, &staged{id: u.blob, large: true, claimed: time.Now()})
	}
	return translate(err)
}

// Append implements [tree.Upload].
func (u *upload) Append(ctx context.Context, body io.Reader, opts tree.AppendOptions) error {
	if u.state.Tag != "" {
		return fmt.Errorf("the upload has ended: %w", tree.ErrExist)
	}
	if err := u.s.Try(ctx, opts.Cond); err != nil {
		return err
	}
	a := &arrival{upload: u, opts: opts, sum: sha256.New(), offset: u.state.Offset}
	if err := copyHash(a.sum, u.sum); err != nil {
		return err
	}
	err := a.receive(ctx, body)
	if err == nil && opts.Verify != nil {
		err = opts.Verify()
	}
	if err != nil && (opts.Verify != nil || a.long) {
		a.drop()
		return err
	}
	return errors.Join(err, a.keep(context.WithoutCancel(ctx)))
}

func copyHash(to, from hash.Hash) error {
	state, err := from.(encoding.BinaryMarshaler).MarshalBinary()
	if err == nil {
		err = to.(encoding.BinaryUnmarshaler).UnmarshalBinary(state)
	}
	return err
}

// An arrival is the part of an upload that one request brings.
type arrival struct {
	*upload
	opts   tree.AppendOptions
	w      blobs.Writer
	sum    hash.Hash // of all bytes, with those that are not kept yet
	offset int64
	long   bool // the body is longer than announced
}

// receive copies a body to the object.
func (a *arrival) receive(ctx context.Context, body io.Reader) error {
	from := io.LimitReader(bodyReader{ctx, body}, a.state.Length-a.offset+1)
	kept := time.Now()
	for {
		if err := a.open(ctx); err != nil {
			return err
		}
		n, err := io.CopyN(io.MultiWriter(a.w, a.sum), from, 1<<20)
		a.offset += n
		switch {
		case a.offset > a.state.Length:
			a.long = true
			return &tree.BodyError{Err: fmt.Errorf("it has more than the %d bytes that were announced", a.state.Length)}
		case err == io.EOF:
			return nil
		case err != nil:
			return stored(err)
		}
		if time.Since(kept) < keepEvery {
			continue
		}
		if kept = time.Now(); a.opts.Verify != nil {
			err = a.stay(ctx)
		} else {
			err = a.keep(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// open opens the object where the bytes that are kept end. The first bytes make it.
func (a *arrival) open(ctx context.Context) (err error) {
	if a.w != nil {
		return nil
	}
	a.w, err = a.s.opts.Blobs.Resume(ctx, a.blob, a.offset)
	if errors.Is(err, tree.ErrNotExist) && a.offset == 0 {
		a.w, err = a.s.opts.Blobs.Create(ctx, a.blob)
	}
	return stored(err)
}

// drop forgets the bytes that have come since the last keep. The next Resume cuts them off.
func (a *arrival) drop() {
	if a.w != nil {
		_ = a.w.Keep()
	}
}

// keep makes the bytes durable, and then their number.
func (a *arrival) keep(ctx context.Context) error {
	if a.w != nil {
		err := a.w.Keep()
		if a.w = nil; err != nil {
			return stored(err)
		}
	}
	expires := a.state.Expires
	if a.opts.Expires != nil {
		expires = a.opts.Expires()
	}
	state, err := a.sum.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return err
	}
	if err := a.change(ctx, "received = $4, hash = $5, expires = $6", a.offset, state, expires); err != nil {
		return err
	}
	a.state.Offset, a.state.Expires = a.offset, expires
	return copyHash(a.upload.sum, a.sum)
}

// stay renews the lease.
func (u *upload) stay(ctx context.Context) error { return u.change(ctx, "received = received") }

// change changes the row, as long as this handle holds the upload.
func (u *upload) change(ctx context.Context, set string, args ...any) error {
	answer, err := u.s.pool.Exec(ctx, "update ifmatch.upload set held_until = now() + $3, "+set+
		" where id = $1 and holder = $2", append([]any{u.state.ID, u.holder, lease}, args...)...)
	if err == nil && answer.RowsAffected() == 0 {
		return fmt.Errorf("another request goes on with the upload: %w", tree.ErrBusy)
	}
	return translate(err)
}

// Put implements [tree.Upload].
func (u *upload) Put(
	ctx context.Context, name string, opts tree.PutOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	dir, _ := tree.Split(name)
	if of, _ := tree.Split(u.state.Name); of != dir || u.state.Tag != "" || u.state.Offset != u.state.Length {
		return tree.State{}, false, fmt.Errorf("the upload is not whole, has ended, or is for another collection: %w",
			tree.ErrUnsupported)
	}
	content := &staged{id: u.blob, size: u.state.Length, sum: u.sum.Sum(nil), large: true}
	if u.state.Length == 0 {
		content.large, content.data = false, []byte{}
	}
	if opts.Verify != nil {
		if err := opts.Verify(tree.Sums{crypto.SHA256: content.sum}); err != nil {
			return tree.State{}, false, err
		}
	}
	if err := u.stay(ctx); err != nil {
		return tree.State{}, false, err
	}
	// An object without a name stays claimed until the janitor looks: an attempt whose outcome was not known can have given
	// it one.
	state, created, _, err = u.s.publish(ctx, name, content, opts, cond)
	if err != nil {
		return tree.State{}, false, err
	}
	u.state.Tag = state.Tag
	if failed := u.change(context.WithoutCancel(ctx), "sha256 = $4", content.sum); failed != nil {
		u.s.opts.Report(fmt.Errorf("the end of an upload is not noted: %w", failed))
	}
	return state, created, nil
}
