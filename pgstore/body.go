package pgstore

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

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
