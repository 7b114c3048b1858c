package pgstore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// lastPart is how much of an object is sent only when all of it has been found to be right.
const lastPart = 64 << 10

// open opens the content of a node. One that lies in the database has come with the look.
func (s *Store) open(ctx context.Context, name string, n *node) (tree.Content, error) {
	if n.place == inTable {
		if int64(len(n.data)) != n.size {
			return nil, s.damaged(name, n, errors.New("it is not in table content"))
		}
		return inline{n.data}, nil
	}
	if s.opts.Blobs == nil {
		return nil, &tree.StorageError{Kind: tree.ErrUnavailable,
			Hint: "large contents are elsewhere; start the server with --blobs"}
	}
	object, err := s.opts.Blobs.Open(ctx, *n.blob)
	if errors.Is(err, tree.ErrNotExist) {
		return nil, s.damaged(name, n, err)
	}
	return &largeContent{store: s, name: name, node: n, object: object}, stored(err)
}

// damaged reports a content that is lost, and returns the error for the client.
func (s *Store) damaged(name string, n *node, err error) error {
	s.opts.Report(fmt.Errorf("the content of %q is damaged: blob %v, place %s, tag %s: %w",
		name, n.blob, n.place, n.tag(), err))
	return &tree.StorageError{Kind: tree.ErrFailed, Hint: "the content is damaged; restore it from a backup", Err: err}
}

// An inline content lies in the database, and is in memory here.
type inline struct{ data []byte }

// ReadAt implements [io.ReaderAt].
func (c inline) ReadAt(p []byte, offset int64) (int, error) {
	return bytes.NewReader(c.data).ReadAt(p, offset)
}

// WriteRange implements [tree.Content].
func (c inline) WriteRange(_ context.Context, w io.Writer, offset, n int64) (int64, error) {
	written, err := w.Write(c.data[offset : offset+n])
	return int64(written), err
}

// Parts implements [tree.PartedContent].
func (inline) Parts(context.Context, []tree.Part) (bool, error) { return true, nil }

// Close implements [io.Closer].
func (inline) Close() error { return nil }

// A largeContent is an opened object.
type largeContent struct {
	store  *Store
	name   string
	node   *node
	object blobs.Object
}

// ReadAt implements [io.ReaderAt].
func (c *largeContent) ReadAt(p []byte, offset int64) (int, error) {
	n, err := c.object.ReadAt(p, offset)
	if err != nil && err != io.EOF {
		err = stored(err)
	}
	return n, err
}

// Parts implements [tree.PartedContent].
func (*largeContent) Parts(context.Context, []tree.Part) (bool, error) { return true, nil }

// Close implements [io.Closer].
func (c *largeContent) Close() error { return c.object.Close() }

// WriteRange implements [tree.Content]. The whole content is hashed on its way. If it is another, the last part is not
// sent, so that the client sees a broken answer and never a wrong file.
func (c *largeContent) WriteRange(_ context.Context, w io.Writer, offset, n int64) (int64, error) {
	if offset != 0 || n != c.node.size {
		return c.send(w, io.NewSectionReader(c.object, offset, n))
	}
	sum, first := sha256.New(), max(n-lastPart, 0)
	written, err := c.send(io.MultiWriter(w, sum), io.NewSectionReader(c.object, 0, first))
	if err != nil {
		return written, err
	}
	last := make([]byte, n-first)
	if _, err := c.object.ReadAt(last, first); err != nil && err != io.EOF {
		return written, stored(err)
	}
	if sum.Write(last); !bytes.Equal(sum.Sum(nil), c.node.sum) {
		return written, c.store.damaged(c.name, c.node, fmt.Errorf("it has the SHA-256 %x", sum.Sum(nil)))
	}
	more, err := w.Write(last)
	return written + int64(more), err
}

func (c *largeContent) send(w io.Writer, from *io.SectionReader) (int64, error) {
	n, err := io.Copy(w, struct{ io.Reader }{from})
	if err == nil && n < from.Size() {
		err = c.store.damaged(c.name, c.node, io.ErrUnexpectedEOF)
	}
	return n, err
}

// sumsOf returns the sums of a file. They are computed once for each content.
func (s *Store) sumsOf(ctx context.Context, n *node) (tree.Sums, error) {
	sums := tree.Sums{crypto.SHA256: n.sum}
	var sha1, md5 []byte
	err := s.pool.QueryRow(ctx, "select sha1, md5 from ifmatch.sums where sha256 = $1", n.sum).Scan(&sha1, &md5)
	if err == nil {
		sums[crypto.SHA1], sums[crypto.MD5] = sha1, md5
		return sums, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return nil, translate(err)
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
	h := newHasher([]crypto.Hash{crypto.SHA1, crypto.MD5})
	if _, err := io.Copy(h, bodyReader{ctx, io.NewSectionReader(content, 0, n.size)}); err != nil {
		return nil, err
	}
	if sums = h.sums(); !bytes.Equal(sums[crypto.SHA256], n.sum) {
		return nil, s.damaged("", n, fmt.Errorf("it has the SHA-256 %x", sums[crypto.SHA256]))
	}
	_, err = s.pool.Exec(ctx, "insert into ifmatch.sums (sha256, sha1, md5) values ($1, $2, $3) on conflict do nothing",
		sums[crypto.SHA256], sums[crypto.SHA1], sums[crypto.MD5])
	return sums, translate(err)
}
