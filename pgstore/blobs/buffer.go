package blobs

import (
	"crypto/sha256"
	"io"
	"sync"
)

const blockSize = 256 << 10

// blocks are those that no buffer uses.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// A buffer holds the bytes of a part. It takes memory as they come.
type buffer struct {
	blocks []*[blockSize]byte
	size   int64
}

// Write implements [io.Writer].
func (b *buffer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		at := int(b.size % blockSize)
		if at == 0 {
			b.blocks = append(b.blocks, blocks.Get().(*[blockSize]byte))
		}
		copied := copy(b.blocks[len(b.blocks)-1][at:], p)
		b.size += int64(copied)
		p = p[copied:]
	}
	return n, nil
}

// ReadAt implements [io.ReaderAt].
func (b *buffer) ReadAt(p []byte, offset int64) (n int, err error) {
	for len(p) > 0 {
		if offset >= b.size {
			return n, io.EOF
		}
		in := offset % blockSize
		copied := copy(p, b.blocks[offset/blockSize][in:min(blockSize, in+b.size-offset)])
		n += copied
		offset += int64(copied)
		p = p[copied:]
	}
	return n, nil
}

// reader returns all bytes. It can be read again after a seek.
func (b *buffer) reader() io.ReadSeeker { return io.NewSectionReader(b, 0, b.size) }

func (b *buffer) sum() [32]byte {
	h := sha256.New()
	_, _ = io.Copy(h, b.reader()) // neither can fail
	return [32]byte(h.Sum(nil))
}

// reset gives the memory back.
func (b *buffer) reset() {
	for _, block := range b.blocks {
		blocks.Put(block)
	}
	b.blocks, b.size = nil, 0
}
