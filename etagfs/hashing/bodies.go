package hashing

import (
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
	return copyWith(ctx, dst, src, *buffer, func(int) []byte { return *buffer })
}

// smallBuffers are for reads that wait for a client.
var smallBuffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// ReceiveBody is CopyBody for the body that a client sends, of which the length is announced or -1: see [tree.ReadBody].
// It has a large buffer as long as the client sends enough to fill the buffer. For a client that sends little at a time,
// or nothing, it holds a small one.
func ReceiveBody(ctx context.Context, dst io.Writer, body io.Reader, length int64) (int64, error) {
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
	return copyWith(ctx, dst, tree.ReadBody(ctx, body, length), *small, func(n int) []byte {
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
}

// copyWith copies with a buffer, and calls next after each read for the buffer of the next one.
func copyWith(
	ctx context.Context, dst io.Writer, src io.Reader, buffer []byte, next func(n int) []byte,
) (written int64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return written, err
		}
		n, err := src.Read(buffer)
		if n > 0 {
			m, err := dst.Write(buffer[:n])
			written += int64(m)
			if err != nil {
				return written, err
			}
		}
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		buffer = next(n)
	}
}
