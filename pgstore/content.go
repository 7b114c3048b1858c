package pgstore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// lastPart is how much of an object is sent only when all of it has been found to be right.
const lastPart = 64 << 10

// open opens the content of a node. One that lies in the database has come with the look, and an object is asked for
// with its first byte.
func (s *Store) open(ctx context.Context, name string, n *node) (tree.Content, error) {
	if n.place == inTable {
		if int64(len(n.data)) != n.size {
			return nil, s.damaged(name, n, errors.New("it is not in table content"))
		}
		if sum := sha256.Sum256(n.data); !bytes.Equal(sum[:], n.sum) {
			return nil, s.damaged(name, n, fmt.Errorf("it has the SHA-256 %x", sum))
		}
		return tree.Bytes(n.data), nil
	}
	if s.opts.Blobs == nil {
		return nil, &tree.StorageError{Kind: tree.ErrUnavailable,
			Hint: "large contents are not in the database, and no place for them was named: give --blobs"}
	}
	return &largeContent{store: s, ctx: ctx, name: name, node: n}, nil
}

// damaged reports a content that is lost, and returns the error for the client.
func (s *Store) damaged(name string, n *node, err error) error {
	s.damages.Add(1)
	s.opts.Report(fmt.Errorf("the content of %q is damaged: blob %v, place %s, tag %s: %w",
		name, n.blob, n.place, n.tag(), err))
	return &tree.StorageError{Kind: tree.ErrFailed, Hint: "the content is damaged; restore it from a backup", Err: err}
}

// broken returns the error of the object on its way. Where bytes that were kept are gone, as after a restore of the
// database, no other try will find them. So the upload ends, and the client begins another.
func (u *upload) broken(ctx context.Context, err error) error {
	if u.state.Offset == 0 || !errors.Is(err, iofs.ErrNotExist) && !errors.Is(err, blobs.ErrDamaged) {
		return u.s.stored(err)
	}
	if failed := u.Remove(context.WithoutCancel(ctx)); failed != nil {
		return failed
	}
	u.gone = true
	u.s.opts.Report(fmt.Errorf("an upload of %q has ended, because bytes of it that were kept are gone: %w", u.state.Name, err))
	return fmt.Errorf("bytes of the upload %q are gone; begin another: %w", u.state.ID, tree.ErrNotExist)
}

// A largeContent is an object.
type largeContent struct {
	store *Store
	ctx   context.Context // of ReadAt
	name  string
	node  *node
}

// reader opens some of the bytes.
func (c *largeContent) reader(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
	r, err := c.store.opts.Blobs.Open(ctx, *c.node.blob, c.node.size, offset, n)
	return r, c.failed(err)
}

// failed returns the error of the contract. One that says that the content is damaged is reported.
func (c *largeContent) failed(err error) error {
	if errors.Is(err, iofs.ErrNotExist) || errors.Is(err, blobs.ErrDamaged) {
		return c.store.damaged(c.name, c.node, err)
	}
	return c.store.stored(err)
}

// ReadAt implements [io.ReaderAt].
func (c *largeContent) ReadAt(p []byte, offset int64) (int, error) {
	n := max(min(int64(len(p)), c.node.size-offset), 0)
	r, err := c.reader(c.ctx, offset, n)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	read, err := io.ReadFull(r, p[:n])
	if err == nil && n < int64(len(p)) {
		return read, io.EOF
	}
	return read, c.failed(err)
}

// Parts implements [tree.PartedContent].
func (*largeContent) Parts(context.Context, []tree.Part) (bool, error) { return true, nil }

// Close implements [io.Closer].
func (c *largeContent) Close() error { return nil }

// WriteRange implements [tree.Content]. The whole content is hashed on its way. If it is another, the last part is not
// sent, so that the client sees a broken answer and never a wrong file.
func (c *largeContent) WriteRange(ctx context.Context, w io.Writer, offset, n int64) (int64, error) {
	r, err := c.reader(ctx, offset, n)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	from := objectReader{r, c}
	if offset != 0 || n != c.node.size {
		return io.Copy(w, from)
	}
	sum, first := sha256.New(), max(n-lastPart, 0)
	written, err := io.CopyN(io.MultiWriter(w, sum), from, first)
	if err != nil {
		return written, err
	}
	last := make([]byte, n-first)
	if _, err := io.ReadFull(from, last); err != nil {
		return written, err
	}
	if sum.Write(last); !bytes.Equal(sum.Sum(nil), c.node.sum) {
		return written, c.store.damaged(c.name, c.node, fmt.Errorf("it has the SHA-256 %x", sum.Sum(nil)))
	}
	more, err := w.Write(last)
	return written + int64(more), err
}

// An objectReader has the errors of an object in the words of the contract.
type objectReader struct {
	io.Reader
	c *largeContent
}

// Read implements [io.Reader].
func (r objectReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = r.c.failed(err)
	}
	return n, err
}

// sumsOf returns the sums of a file. They are computed once for each content.
func (s *Store) sumsOf(ctx context.Context, n *node) (tree.Sums, error) {
	known, err := s.knownSums(ctx, n.tag())
	if sums, ok := known[n.tag()]; ok || err != nil {
		return sums, err
	}
	found := *n
	if n.place == inTable && n.data == nil {
		err := s.readRow(ctx, "select data from ifmatch.content where blob = $1", []any{*n.blob}, &found.data)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, translate(err)
		}
	}
	content, err := s.open(ctx, "", &found)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	h := tree.NewHasher(crypto.SHA1, crypto.MD5)
	if _, err := content.WriteRange(ctx, h, 0, n.size); err != nil {
		return nil, err
	}
	sums := h.Sums()
	if !bytes.Equal(sums[crypto.SHA256], n.sum) {
		return nil, s.damaged("", n, fmt.Errorf("it has the SHA-256 %x", sums[crypto.SHA256]))
	}
	both := slices.Concat(sums[crypto.SHA1], sums[crypto.MD5])
	return sums, s.Notes(noteOfSums).Keep(ctx, string(n.tag()), both, sumsKept)
}

// The sums of a content are a note: SHA-1 and MD5 by its tag. They are computed anew after sumsKept.
const (
	noteOfSums = "sums"
	sumsKept   = 60 * 24 * time.Hour
)

// knownSums returns the sums of contents that were computed before.
func (s *Store) knownSums(ctx context.Context, tags ...tree.ETag) (map[tree.ETag]tree.Sums, error) {
	keys := make([]string, len(tags))
	for i, tag := range tags {
		keys[i] = string(tag)
	}
	found, err := s.Notes(noteOfSums).GetAll(ctx, keys...)
	known := make(map[tree.ETag]tree.Sums, len(found))
	for key, both := range found {
		if sum, ok := tree.SumOf(tree.ETag(key)); ok && len(both) == crypto.SHA1.Size()+crypto.MD5.Size() {
			known[tree.ETag(key)] = tree.Sums{
				crypto.SHA256: sum[:], crypto.SHA1: both[:crypto.SHA1.Size()], crypto.MD5: both[crypto.SHA1.Size():],
			}
		}
	}
	return known, err
}

// claimAfter is when an object on its way has to be claimed again. It is much less than [MinBlobGrace].
const claimAfter = 10 * time.Minute

// A staged content has arrived, and has no name yet.
type staged struct {
	id      uuid.UUID
	size    int64
	sum     []byte
	data    []byte       // of a content that is to lie in the database
	large   bool         // it is an object
	object  blobs.Writer // of an object on its way, or nil
	claimed time.Time    // when the janitor was told of the object
}

// stage receives a body. No transaction is open meanwhile.
func (s *Store) stage(ctx context.Context, body io.Reader, opts tree.PutOptions) (*staged, error) {
	c := &staged{id: uuid.Must(uuid.NewV7())}
	sums := tree.NewHasher(opts.Hashes...)
	from := io.TeeReader(tree.ReadBody(ctx, body, opts.Length), sums)
	var head bytes.Buffer
	n, err := io.CopyN(&head, from, s.opts.Inline+1)
	if err == io.EOF {
		err = nil
	}
	if c.size = n; err == nil && n > s.opts.Inline {
		err = s.stageObject(ctx, c, io.MultiReader(&head, from), opts.Length)
	} else {
		c.data = head.Bytes()
	}
	if all := sums.Sums(); err == nil {
		if c.sum = all[crypto.SHA256]; opts.Verify != nil {
			err = opts.Verify(all)
		}
	}
	if err == nil && c.object != nil {
		if err = s.stored(c.object.Commit(ctx, [32]byte(c.sum))); err == nil {
			c.object = nil
		}
	}
	if err != nil {
		s.abandon(ctx, c)
		return nil, err
	}
	return c, nil
}

// stageObject receives a body that is large enough to be an object. A row tells the janitor of the object first.
func (s *Store) stageObject(ctx context.Context, c *staged, body io.Reader, length int64) error {
	if s.opts.Blobs == nil {
		return &tree.StorageError{Kind: tree.ErrTooLarge,
			Hint: "there is no place for large contents; start the server with --blobs"}
	}
	c.large = true
	err := s.claim(ctx, c)
	if err == nil {
		c.object, err = s.opts.Blobs.Create(ctx, c.id, length)
	}
	if err != nil {
		return s.stored(err)
	}
	from := &claimingReader{ctx: ctx, s: s, c: c, tried: s.Time(), body: body}
	c.size, err = io.Copy(struct{ io.Writer }{c.object}, from)
	if errors.As(err, new(*tree.BodyError)) || ctx.Err() != nil {
		return err
	}
	return s.stored(err)
}

var errGivenUp = &tree.StorageError{Kind: tree.ErrBusy, Hint: "the upload was taken to be given up; send it again"}

// claim notes that an object is on its way. The janitor leaves it for its grace from then on.
func (s *Store) claim(ctx context.Context, c *staged) error {
	return s.claimBy(ctx, c, `insert into ifmatch.dead (blob, place, begun, since)
 values ($1, 'o', true, coalesce($2, now()))`+noted)
}

// keepClaim claims an object again that was long on its way. It is not enough to note it anew: the janitor may have
// deleted the object, and what it knew of it.
func (s *Store) keepClaim(ctx context.Context, c *staged) error {
	switch {
	case !c.large:
		return nil
	case c.claimed.IsZero():
		return s.claim(ctx, c)
	case s.Time().Sub(c.claimed) < claimAfter:
		return nil
	}
	return s.claimBy(ctx, c, "update ifmatch.dead set since = coalesce($2, now()) where blob = $1 and not claimed")
}

func (s *Store) claimBy(ctx context.Context, c *staged, sql string) error {
	answer, err := s.exec(ctx, sql, c.id, s.clock())
	if err == nil && answer.RowsAffected() == 0 {
		return errGivenUp
	}
	if err == nil {
		c.claimed = s.Time()
	}
	return translate(err)
}

// A claimingReader keeps the claim of an object whose body comes slowly.
type claimingReader struct {
	ctx   context.Context
	s     *Store
	c     *staged
	tried time.Time
	body  io.Reader
}

func (r *claimingReader) Read(p []byte) (int, error) {
	if now := r.s.Time(); now.Sub(r.tried) >= claimAfter {
		r.tried = now
		if err := r.s.keepClaim(r.ctx, r.c); err == errGivenUp {
			return 0, err
		} // any other error is of now, and there is a day to try again
	}
	return r.body.Read(p)
}

// abandon removes a content that gets no name. Where that fails, the janitor does.
func (s *Store) abandon(ctx context.Context, c *staged) {
	ctx = context.WithoutCancel(ctx)
	var err error
	switch {
	case c.object != nil:
		err = c.object.Abort(ctx)
	case c.large:
		err = s.opts.Blobs.Delete(ctx, c.id)
	}
	if err == nil && !c.claimed.IsZero() {
		_, err = s.exec(ctx, "delete from ifmatch.dead where blob = $1", c.id)
	}
	if err != nil {
		s.opts.Report(fmt.Errorf("an object without a name is left for the janitor: %w", err))
	}
}

// dispose removes an object that has no name. Where that fails, the janitor does.
func (u *upload) dispose(ctx context.Context, id *uuid.UUID) {
	if id == nil {
		return
	}
	err := u.s.opts.Blobs.Discard(ctx, *id)
	if err == nil {
		_, err = u.s.exec(ctx, "delete from ifmatch.dead where blob = $1", *id)
	}
	if err != nil {
		u.s.opts.Report(fmt.Errorf("an object of an upload is left for the janitor: %w", err))
	}
}

// claimedSQL fails, and the transaction with it, if the janitor has taken the object to be garbage.
const claimedSQL = `with claim as (delete from ifmatch.dead where blob = $1 and not claimed returning 1)
 select 1 / count(*) from claim`

// place makes a content that of a node.
func (t *transaction) place(n *node, c *staged) {
	n.kind, n.there, n.size, n.sum, n.blob = kindFile, true, c.size, c.sum, &c.id
	if n.place = inTable; c.large {
		n.place = inBlobs
		t.do(claimedSQL, c.id)
		return
	}
	t.do("insert into ifmatch.content (blob, data) values ($1, $2)", c.id, c.data)
}
