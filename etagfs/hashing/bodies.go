package hashing

import (
	"cmp"
	"context"
	"crypto/sha256"
	"io"
	"sync"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TagOf returns the tag of the first size bytes of a content.
func TagOf(ctx context.Context, content io.ReaderAt, size int64) (tree.ETag, error) {
	sum := sha256.New()
	_, err := CopyBody(ctx, sum, io.NewSectionReader(content, 0, size))
	return tree.TagOf([sha256.Size]byte(sum.Sum(nil))), err
}

// heldReader asks before each read whether to go on.
type heldReader struct {
	*vfs.File
	hold func() bool
}

func (r heldReader) ReadAt(p []byte, offset int64) (int, error) {
	if !r.hold() {
		return 0, ErrChanged
	}
	return r.File.ReadAt(p, offset)
}

// CopyBody copies until the end of src, or until ctx is done.
func CopyBody(ctx context.Context, dst io.Writer, src io.Reader) (int64, error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	n, broken, err := copyWith(ctx, dst, src, *buffer, func(int) []byte { return *buffer })
	return n, cmp.Or(broken, err)
}

// smallBuffers are for reads that wait for a client.
var smallBuffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// ReceiveBody is CopyBody for the body that a client sends. It has a large buffer as long as the client sends enough to
// fill the buffer. For a client that sends little at a time, or nothing, it holds a small one. An error from src comes
// back as a [tree.BodyError].
func ReceiveBody(ctx context.Context, dst io.Writer, src io.Reader) (int64, error) {
	small := smallBuffers.Get().(*[]byte)
	defer smallBuffers.Put(small)
	var large *[]byte
	letGo := func() {
		if large != nil {
			buffers.Put(large)
			large = nil
		}
	}
	defer letGo()
	n, broken, err := copyWith(ctx, dst, src, *small, func(n int) []byte {
		switch {
		case large == nil && n == len(*small):
			large = buffers.Get().(*[]byte)
		case large != nil && n < len(*large):
			letGo()
		}
		if large != nil {
			return *large
		}
		return *small
	})
	if broken != nil {
		err = &tree.BodyError{Err: broken}
	}
	return n, err
}

// copyWith copies with a buffer, and calls next after each read for the buffer of the next one. broken is an error of
// src, and err is any other.
func copyWith(
	ctx context.Context, dst io.Writer, src io.Reader, buffer []byte, next func(n int) []byte,
) (written int64, broken, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return written, nil, err
		}
		n, err := src.Read(buffer)
		if n > 0 {
			m, err := dst.Write(buffer[:n])
			written += int64(m)
			if err != nil {
				return written, nil, err
			}
		}
		if err == io.EOF {
			return written, nil, nil
		}
		if err != nil {
			return written, err, nil
		}
		buffer = next(n)
	}
}
