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
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

const (
	lease     = time.Minute      // for which an upload stays open without a sign of life
	keepEvery = 10 * time.Second // how often arrived bytes are made durable
)

// An upload is a body that arrives in several requests, at any replica. Its bytes are an object on its way, which is
// committed with the last of them. One handle at a time holds it, by a lease.
//
// A handle whose lease has run out may still be at work. So the next one makes an object of its own: see
// [blobs.Store].Resume.
type upload struct {
	s      *Store
	holder uuid.UUID
	kept   blobs.Kept
	tail   *uuid.UUID // the object with the last bytes that are kept, if there is one
	taken  bool       // an earlier handle may be at work
	unsure bool       // so may a request of this one
	gone   bool       // bytes that were kept are, and with them the upload
	sum    hash.Hash
	state  tree.UploadState
}

// UploadLimits bound the uploads that are not complete, those of all replicas together. Zero: no limit.
type UploadLimits struct {
	Number int
	Bytes  int64 // announced by all of them
}

// newUploadSQL begins an upload, unless there are too many. One client gets no more of the limits than it leaves to others.
// Replicas that begin uploads at the same instant may pass the limits by a few.
const newUploadSQL = `with u as (
 select count(*) as n, count(*) filter (where client = $10 and $10 <> '') as own, coalesce(sum(length), 0) as bytes,
  coalesce(sum(length) filter (where client = $10 and $10 <> ''), 0) as own_bytes
 from ifmatch.upload where sha256 is null and expires > coalesce($13, now()))
insert into ifmatch.upload (id, path, length, hash, blob, note, holder, held_until, expires, client)
 select $1, $2, $3, $4, $5, $6, $7, now() + $8, $9, $10 from u
 where ($11::bigint = 0 or u.own < $11 - u.n) and ($12::bigint = 0 or $3::bigint <= $12 - u.bytes - u.own_bytes)`

// full is the error of an upload that would be one too many.
func (s *Store) full(ctx context.Context, limits UploadLimits) error {
	var number, bytes int64
	err := s.readRow(ctx, `select count(*), coalesce(sum(length), 0)::bigint from ifmatch.upload
 where sha256 is null and expires > coalesce($1, now())`, []any{s.clock()}, &number, &bytes)
	if err != nil {
		return translate(err)
	}
	return &tree.StorageError{Kind: tree.ErrNoSpace, Hint: fmt.Sprintf("there are %d unfinished uploads of %d bytes in all "+
		"(--unfinished-uploads %d, --unfinished-size %d, 0 for any number), and one client gets half of the rest; try again "+
		"later", number, bytes, limits.Number, limits.Bytes)}
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
	u := &upload{s: s, holder: uuid.New(), sum: sha256.New()}
	u.kept.ID = uuid.Must(uuid.NewV7())
	u.state = tree.UploadState{
		ID: rand.Text(), Name: name, Length: opts.Length, Note: opts.Note, Expires: opts.Expires,
	}
	state, err := u.sum.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, err
	}
	note := opts.Note
	if note == nil {
		note = []byte{}
	}
	limits := s.opts.Uploads()
	answer, err := s.exec(ctx, newUploadSQL, u.state.ID, []byte(name), opts.Length, state, u.kept.ID, note, u.holder, lease,
		u.state.Expires, tree.ClientOf(ctx), limits.Number, limits.Bytes, s.clock())
	if err == nil && answer.RowsAffected() == 0 {
		return nil, s.full(ctx, limits)
	}
	if code(err) == codeUnique {
		err = nil // it has happened, and the answer was lost
	}
	return u, translate(err)
}

// OpenUpload implements [tree.Uploads].
func (s *Store) OpenUpload(ctx context.Context, id string) (tree.Upload, error) {
	if strings.Contains(id, "\x00") || !utf8.ValidString(id) { // PostgreSQL takes it for no text
		return nil, fmt.Errorf("the upload %q: %w", id, tree.ErrNotExist)
	}
	u := &upload{s: s, holder: uuid.New(), sum: sha256.New()}
	var path, state, sum []byte
	err := s.execRow(ctx, `with old as (select id, held_until from ifmatch.upload where id = $1 for update)
 update ifmatch.upload u set holder = $2, held_until = now() + $3 from old
 where u.id = old.id and u.expires > coalesce($4, now()) and u.held_until < now()
 returning path, length, received, hash, blob, note, sha256, expires, state, tail, old.held_until > '-infinity'`,
		[]any{id, u.holder, lease, s.clock()}, &path, &u.state.Length, &u.state.Offset, &state, &u.kept.ID, &u.state.Note, &sum,
		&u.state.Expires, &u.kept.State, &u.tail, &u.taken)
	if errors.Is(err, pgx.ErrNoRows) {
		var held bool
		err = s.readRow(ctx, "select exists(select from ifmatch.upload where id = $1 and expires > coalesce($2, now()))",
			[]any{id, s.clock()}, &held)
		if err == nil {
			err = fmt.Errorf("the upload %q: %w", id, map[bool]error{true: tree.ErrBusy, false: tree.ErrNotExist}[held])
		}
	}
	if err != nil {
		return nil, translate(err)
	}
	u.kept.Size = u.state.Offset
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
	_, err := u.s.exec(ctx, `update ifmatch.upload set held_until = case when $3 then now() else '-infinity' end
 where id = $1 and holder = $2`, u.state.ID, u.holder, u.unsure)
	return translate(err)
}

// Remove implements [tree.Upload]. An object of which all bytes have arrived is left to the janitor: a Put of another
// handle may have given it a name.
func (u *upload) Remove(ctx context.Context) error {
	answer, err := u.s.exec(ctx, `with d as (
  delete from ifmatch.upload where id = $1 and holder = $2 returning blob, sha256),
 g as (insert into ifmatch.dead (blob, place, begun, since) select blob, 'o', true, coalesce($3, now()) from d
  where sha256 is null`+noted+`)
 select from d`, u.state.ID, u.holder, u.s.clock())
	switch {
	case err != nil:
		return translate(err)
	case answer.RowsAffected() == 0:
		return errTaken
	case u.state.Offset == u.state.Length:
		return nil
	}
	u.dispose(ctx, &u.kept.ID)
	u.dispose(ctx, u.tail)
	return nil
}

// Append implements [tree.Upload].
func (u *upload) Append(ctx context.Context, body io.Reader, opts tree.AppendOptions) error {
	if u.state.Tag != "" {
		return fmt.Errorf("the upload has ended: %w", tree.ErrExist)
	}
	if err := u.s.Try(ctx, opts.Cond); err != nil {
		return err
	}
	a := &arrival{upload: u, ctx: ctx, opts: opts, sum: sha256.New(), offset: u.state.Offset}
	if err := copyHash(a.sum, u.sum); err != nil {
		return err
	}
	err := a.receive(ctx, body)
	if err == nil && opts.Verify != nil {
		err = opts.Verify()
	}
	lasting := context.WithoutCancel(ctx)
	if err == nil || opts.Verify == nil && !a.long && !u.gone {
		err = errors.Join(err, a.keep(lasting))
	}
	if a.w != nil { // the bytes since the last keep are forgotten
		if left := a.w.Leave(lasting); left != nil {
			u.s.opts.Report(fmt.Errorf("some bytes of an upload are left for the janitor: %w", left))
		}
	}
	return err
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
	ctx    context.Context
	opts   tree.AppendOptions
	w      blobs.Writer // nil before the first bytes, and after the last
	sum    hash.Hash    // of all bytes, with those that are not kept yet
	offset int64
	long   bool // the body is longer than announced
}

// receive copies a body to the object. It goes in steps from one multiple of [blobs.Step] to the next, where it is cheap
// to keep what has come.
func (a *arrival) receive(ctx context.Context, body io.Reader) error {
	from := io.LimitReader(tree.ReadBody(ctx, body, -1), a.state.Length-a.offset+1)
	kept, stayed := time.Now(), time.Now()
	for {
		_, err := io.CopyN(a, from, blobs.Step-a.offset%blobs.Step)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return a.broken(ctx, err)
		case time.Since(kept) > keepEvery && a.opts.Verify == nil && a.w.Whole():
			err = a.keep(ctx)
			kept, stayed = time.Now(), time.Now()
		case time.Since(stayed) > keepEvery:
			err = a.stay(ctx)
			stayed = time.Now()
		}
		if err != nil {
			return err
		}
	}
}

// Write implements [io.Writer]. The first bytes open the object.
func (a *arrival) Write(p []byte) (int, error) {
	if a.offset+int64(len(p)) > a.state.Length {
		a.long = true
		return 0, &tree.BodyError{Err: fmt.Errorf("it has more than the %d bytes that were announced", a.state.Length)}
	}
	if a.w == nil {
		if err := a.open(a.ctx); err != nil {
			return 0, err
		}
	}
	n, err := a.w.Write(p)
	a.sum.Write(p[:n])
	a.offset += int64(n)
	return n, err
}

// open opens the object where the bytes that are kept end.
func (a *arrival) open(ctx context.Context) (err error) {
	id := a.kept.ID
	if a.taken {
		id = uuid.Must(uuid.NewV7())
		if err := a.s.claim(ctx, &staged{id: id}); err != nil {
			return err
		}
	}
	a.w, err = a.s.opts.Blobs.Resume(ctx, id, a.state.Length, a.kept)
	return err
}

// keep makes the bytes durable, and then their number. With the last of them, the object is complete.
func (a *arrival) keep(ctx context.Context) error {
	next, tail := a.kept, a.tail
	if a.w != nil {
		var err error
		a.unsure = true // until all is known to have ended well
		if next, tail, err = a.keepObject(ctx); err != nil {
			return a.broken(ctx, err)
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
	if next.ID != a.kept.ID { // the janitor has the former object, as soon as the upload has not
		if err := a.s.claim(ctx, &staged{id: a.kept.ID}); err != nil {
			return err
		}
	}
	err = a.change(ctx, "received = $4, hash = $5, expires = $6, blob = $7, state = $8, tail = $9",
		a.offset, state, expires, next.ID, next.State, tail)
	if err != nil {
		return err
	}
	if a.tail != nil && a.tail != tail {
		a.dispose(ctx, a.tail)
	}
	a.state.Offset, a.state.Expires = a.offset, expires
	a.kept, a.tail, a.taken, a.unsure = next, tail, false, false
	return copyHash(a.upload.sum, a.sum)
}

// keepObject makes the bytes durable. It returns the object with the last of them, if there is one.
func (a *arrival) keepObject(ctx context.Context) (next blobs.Kept, tail *uuid.UUID, err error) {
	if a.offset < a.state.Length {
		next, err = a.w.Keep(ctx, func() (uuid.UUID, error) {
			id := uuid.Must(uuid.NewV7())
			tail = &id
			return id, a.s.claim(ctx, &staged{id: id})
		})
		return next, tail, err
	}
	next = blobs.Kept{ID: a.w.ID(), Size: a.offset}
	if err = a.w.Commit(ctx, [32]byte(a.sum.Sum(nil))); err == nil {
		a.w = nil
	}
	return next, nil, err
}

var errTaken = fmt.Errorf("another request goes on with the upload: %w", tree.ErrBusy)

// stay renews the lease.
func (u *upload) stay(ctx context.Context) error { return u.change(ctx, "received = received") }

// change changes the row, as long as this handle holds the upload.
func (u *upload) change(ctx context.Context, set string, args ...any) error {
	answer, err := u.s.exec(ctx, "update ifmatch.upload set held_until = now() + $3, "+set+
		" where id = $1 and holder = $2", append([]any{u.state.ID, u.holder, lease}, args...)...)
	if err == nil && answer.RowsAffected() == 0 {
		return errTaken
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
	content := &staged{id: u.kept.ID, size: u.state.Length, sum: u.sum.Sum(nil), large: true}
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
	// An object that gets no name stays claimed until the janitor looks. An attempt whose outcome was not known can have
	// given it one, and so can an earlier Put whose end was not noted.
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
