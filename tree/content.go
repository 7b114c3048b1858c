package tree

import (
	"bytes"
	"context"
	"io"
	"time"
)

// Content is an opened version of a file. It stays that version when the name gets another one. It notices when a
// local program writes into the file itself. If the version has no known tag, its bytes are those that are in the
// file.
type Content interface {
	// ReadAt implements [io.ReaderAt]. [ErrChanged] says that a local program has written to the file.
	io.ReaderAt
	// WriteRange writes the n bytes from an offset to w, and returns how many bytes w was given. They belong to the
	// version of the State. [ErrChanged] says that a local program has written to the file meanwhile, so that some of
	// the bytes may be others. Then the last byte was not written, or none if written is 0. If w is an
	// [io.ReaderFrom], the operating system may send most of the bytes, and more of them if w is a [Drain] too.
	// WriteRange must not be called again before it returns.
	WriteRange(ctx context.Context, w io.Writer, offset, n int64) (written int64, err error)
	io.Closer
}

// A Drain is a writer that may know how many of the written bytes the program of the client has read. A Content whose
// bytes are sent by the operating system asks the writer that it was given.
type Drain interface {
	// AwaitRead waits until that program has read all that was written but most bytes, or until patience is over. It
	// returns how many bytes the program has not read by then. ok is false, at once, if that cannot be known.
	AwaitRead(most int64, patience time.Duration) (unread int64, ok bool)
}

// A Part is some of the bytes of a content.
type Part struct{ Offset, Length int64 }

// PartedContent is a [Content] for which parts cost more than their length. Parts is called once with all parts of an
// answer before the first WriteRange, so that common work is done once. It reports whether sending the parts is
// cheaper than sending the whole. [ErrChanged] means the same as of WriteRange.
type PartedContent interface {
	Parts(ctx context.Context, parts []Part) (bool, error)
}

// Bytes are a [Content] in memory. It stays readable when its store has been closed.
type Bytes []byte

// ReadAt implements [io.ReaderAt].
func (b Bytes) ReadAt(p []byte, offset int64) (int, error) {
	return bytes.NewReader(b).ReadAt(p, offset)
}

// piece is how many bytes are written at once. A writer that judges how fast its client reads sees each piece.
const piece = 32 << 10

// WriteRange implements [Content].
func (b Bytes) WriteRange(_ context.Context, w io.Writer, offset, n int64) (written int64, err error) {
	if offset < 0 || n < 0 || offset > int64(len(b)) || n > int64(len(b))-offset {
		return 0, ErrChanged
	}
	for written < n && err == nil {
		var k int
		k, err = w.Write(b[offset+written : offset+min(written+piece, n)])
		written += int64(k)
	}
	return written, err
}

// Parts implements [PartedContent].
func (Bytes) Parts(context.Context, []Part) (bool, error) { return true, nil }

// Close implements [io.Closer].
func (Bytes) Close() error { return nil }
