package tree

import (
	"context"
	"fmt"
	"io"
)

// ReadBody returns a reader of a body that a client sends, with the errors of [Store.Put]: it tells those of the client from
// the end of the context. length is that of [PutOptions].
func ReadBody(ctx context.Context, body io.Reader, length int64) io.Reader {
	return &bodyReader{ctx, body, 0, length}
}

type bodyReader struct {
	ctx          context.Context
	body         io.Reader
	read, length int64
}

func (r *bodyReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.body.Read(p)
	switch r.read += int64(n); {
	case r.length >= 0 && r.read > r.length:
		return 0, &BodyError{fmt.Errorf("it has more than the %d bytes that were announced", r.length)}
	case err == io.EOF && r.read < r.length:
		return n, &BodyError{fmt.Errorf("it has %d bytes, and %d were announced", r.read, r.length)}
	case err == nil || err == io.EOF:
		return n, err
	case r.ctx.Err() != nil:
		return n, r.ctx.Err()
	}
	return n, &BodyError{err}
}
