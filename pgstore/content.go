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
		return tree.Bytes(n.data), nil
	}
	if s.opts.Blobs == nil {
		return nil, &tree.StorageError{Kind: tree.ErrUnavailable,
			Hint: "large contents are elsewhere; start the server with --blobs"}
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
		err := s.pool.QueryRow(ctx, "select data from ifmatch.content where blob = $1", *n.blob).Scan(&found.data)
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
