package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"time"

	"github.com/minio/minio-go/v7"
)

// downloadTries is how often the bytes of one reader are asked for again after the connection has broken.
const downloadTries = 3

// A download is a range of an object. It is asked for again where an answer breaks off.
type download struct {
	s            *S3
	ctx          context.Context
	id           ID
	size         int64 // of the object
	offset, left int64
	tries        int

	body   io.ReadCloser
	cancel context.CancelFunc
	timer  *time.Timer // ends a read that takes too long
}

// open asks for the bytes that are left. What S3 answers must be about these bytes of an object of that size.
func (r *download) open() error {
	ctx, cancel := context.WithCancel(r.ctx)
	timer := time.AfterFunc(r.s.opts.Patience, cancel)
	opts := minio.GetObjectOptions{}
	last := r.offset + r.left - 1
	err := opts.SetRange(r.offset, last)
	if err != nil {
		cancel()
		return err
	}
	body, _, header, err := r.s.core.GetObject(ctx, r.s.opts.Bucket, r.s.key(r.id), opts)
	if err != nil {
		cancel()
		return r.failed(err)
	}
	timer.Stop()
	want := fmt.Sprintf("bytes %d-%d/%d", r.offset, last, r.size)
	if got := header.Get("Content-Range"); got != want {
		cancel()
		return errors.Join(body.Close(),
			fmt.Errorf("object %v: S3 answers with %q, and not with %q: %w", r.id, got, want, ErrDamaged))
	}
	r.body, r.cancel, r.timer = body, cancel, timer
	return nil
}

// failed explains an error. Where the caller has not given up, a read that was canceled has taken too long.
func (r *download) failed(err error) error {
	switch {
	case r.ctx.Err() == nil && errors.Is(err, context.Canceled):
		err = context.DeadlineExceeded
	case codeOf(err) == "InvalidRange":
		return fmt.Errorf("object %v has fewer than %d bytes: %w", r.id, r.size, ErrDamaged)
	case errors.Is(r.s.explained(err), iofs.ErrNotExist):
		return fmt.Errorf("object %v: %w", r.id, iofs.ErrNotExist)
	}
	return r.s.failed(r.ctx, "read "+r.id.String(), err)
}

// Read implements [io.Reader].
func (r *download) Read(p []byte) (int, error) {
	for {
		if r.left == 0 {
			return 0, io.EOF
		}
		if r.body == nil {
			if err := r.open(); err != nil {
				return 0, err
			}
		}
		r.timer.Reset(r.s.opts.Patience)
		n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
		r.timer.Stop()
		r.offset += int64(n)
		r.left -= int64(n)
		switch {
		case n > 0:
			return n, nil // the next call finds the error again
		case err == nil:
			continue
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
		if r.tries--; r.tries < 0 || r.ctx.Err() != nil {
			return 0, r.failed(err)
		}
		_ = r.Close()
	}
}

// Close implements [io.Closer].
func (r *download) Close() error {
	if r.body == nil {
		return nil
	}
	r.cancel()
	err := r.body.Close()
	r.body = nil
	return err
}
