package blobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/minio/minio-go/v7"
)

// putOptions have each request signed with the SHA-256 of its bytes, which S3 compares.
var putOptions = minio.PutObjectOptions{ContentType: "application/octet-stream", DisableContentSha256: true}

// An upload is an object on its way. It has one part in memory, and those that are sent. An object of one part is stored at
// once, and a larger one in parts.
type upload struct {
	s        *S3
	ctx      context.Context // of Write
	sending  context.Context // of the parts, until stop is called
	stop     context.CancelFunc
	id       ID
	length   int64 // that was announced, or -1
	size     int64
	reserved int64 // of the memory of all uploads
	buffer   buffer
	sent     []*part // that were not seen to land, in their order
	begun    bool    // by this writer, and not kept yet
	lost     bool    // the answer was lost that names an upload in parts: it may have begun
	ended    bool    // S3 knows the upload no more: perhaps an earlier writer has completed it
	multipart
}

// A multipart is the state of an upload in parts, as it is kept.
type multipart struct {
	Upload  string   `json:"upload,omitempty"` // as S3 names it; "": none was begun
	ETags   []string `json:"etags,omitempty"`  // of the parts
	Tail    ID       `json:"tail,omitzero"`    // the object with the bytes after them
	TailSum []byte   `json:"tailSum,omitempty"`
	Part    int64    `json:"part"` // the size of each part but the last
}

// reserve waits for memory for a part. It is taken as a whole, so that no two uploads wait for one another.
func (w *upload) reserve() error {
	need := w.Part
	if w.length >= 0 {
		need = max(min(need, w.length), 1)
	}
	if w.length > maxObject || need > w.s.opts.Memory {
		return fmt.Errorf("an object of %d bytes is too large for S3, or its parts are for memory=: %w",
			w.length, errors.ErrUnsupported)
	}
	limited, cancel := w.s.limit(w.ctx, 0)
	defer cancel()
	if !w.s.memory.TryAcquire(need) && w.s.memory.Acquire(limited, need) != nil {
		if w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		return ErrBusy
	}
	w.reserved = need
	return nil
}

// ID implements [Writer].
func (w *upload) ID() ID { return w.id }

// newUpload returns a writer that has no memory yet.
func (s *S3) newUpload(ctx context.Context, id ID, length int64) *upload {
	w := &upload{s: s, ctx: ctx, id: id, length: length}
	w.sending, w.stop = context.WithCancel(context.WithoutCancel(ctx))
	return w
}

// Write implements [Writer]. The last part stays in memory until it is known to be the last one.
func (w *upload) Write(p []byte) (n int, err error) {
	if w.length >= 0 && w.size+int64(len(p)) > w.length {
		return 0, errors.New("an object has more bytes than were announced")
	}
	for len(p) > 0 {
		if w.buffer.size == w.Part {
			if err := w.next(); err != nil {
				return n, err
			}
		}
		some := p[:min(int64(len(p)), w.Part-w.buffer.size)]
		_, _ = w.buffer.Write(some) // it cannot fail
		n += len(some)
		w.size += int64(len(some))
		p = p[len(some):]
	}
	return n, nil
}

// Commit implements [Writer].
func (w *upload) Commit(ctx context.Context, sum [32]byte) error {
	defer w.free()
	if w.Upload == "" {
		return w.put(ctx, w.id)
	}
	if w.buffer.size > 0 {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	err := w.complete(ctx)
	if err != nil && ctx.Err() == nil {
		// The answer may be lost, or an earlier writer have completed it: the bytes decide.
		if found, failed := w.s.sumOf(ctx, w.id, w.size); failed == nil && found == sum {
			return nil
		}
	}
	return err
}

// put stores the bytes in memory as an object.
func (w *upload) put(ctx context.Context, id ID) error {
	limited, cancel := w.s.limit(ctx, w.buffer.size)
	defer cancel()
	sum := w.buffer.sum()
	info, err := w.s.core.PutObject(limited, w.s.opts.Bucket, w.s.key(id), w.buffer.reader(), w.buffer.size, "",
		hex.EncodeToString(sum[:]), putOptions)
	if err == nil && info.ETag == "" {
		err = errors.New("the answer has no ETag")
	}
	return w.s.failed(ctx, "write "+id.String(), err)
}

// errEnded says that S3 knows an upload no more that an earlier writer has begun.
var errEnded = fmt.Errorf("the upload has ended, or was removed: %w", ErrDamaged)

// complete makes an object of the parts, and asks whether it has all bytes.
func (w *upload) complete(ctx context.Context) error {
	if w.ended {
		return w.s.failed(ctx, "complete "+w.id.String(), errEnded)
	}
	var parts []minio.CompletePart
	for i, etag := range w.ETags {
		parts = append(parts, minio.CompletePart{PartNumber: i + 1, ETag: etag})
	}
	limited, cancel := w.s.limit(ctx, w.size)
	defer cancel()
	_, err := w.s.core.CompleteMultipartUpload(limited, w.s.opts.Bucket, w.s.key(w.id), w.Upload, parts,
		minio.PutObjectOptions{})
	if codeOf(err) == minio.NoSuchUpload && !w.begun {
		err = errEnded
	}
	if err != nil {
		return w.s.failed(ctx, "complete "+w.id.String(), err)
	}
	info, err := w.s.core.StatObject(limited, w.s.opts.Bucket, w.s.key(w.id), minio.StatObjectOptions{})
	if err == nil && info.Size != w.size {
		err = fmt.Errorf("it has %d bytes, and not %d: %w", info.Size, w.size, ErrDamaged)
	}
	return w.s.failed(ctx, "look at "+w.id.String(), err)
}

// sumOf reads an object.
func (s *S3) sumOf(ctx context.Context, id ID, size int64) (sum [32]byte, err error) {
	r, err := s.Open(ctx, id, size, 0, size)
	if err != nil {
		return sum, err
	}
	defer r.Close()
	h := sha256.New()
	_, err = io.Copy(h, r)
	return [32]byte(h.Sum(nil)), err
}

// Whole implements [Writer].
func (w *upload) Whole() bool {
	return w.buffer.size == 0 || w.buffer.size == w.Part && w.size < w.length
}

// Keep implements [Writer]. What does not fill a part is an object of its own.
func (w *upload) Keep(ctx context.Context, tail func() (ID, error)) (Kept, error) {
	if w.buffer.size > 0 && w.Whole() {
		if err := w.flush(ctx); err != nil {
			return Kept{}, err
		}
	}
	if err := w.settle(ctx); err != nil {
		return Kept{}, err
	}
	state := w.multipart
	state.Tail, state.TailSum = ID{}, nil
	if w.buffer.size > 0 {
		id, err := tail()
		if err == nil {
			err = w.put(ctx, id)
		}
		if err != nil {
			return Kept{}, err
		}
		sum := w.buffer.sum()
		state.Tail, state.TailSum = id, sum[:]
	}
	text, err := json.Marshal(state)
	w.begun = w.begun && err != nil
	return Kept{ID: w.id, Size: w.size, State: text}, err
}

// Resume implements [Store].
func (s *S3) Resume(ctx context.Context, id ID, length int64, kept Kept) (Writer, error) {
	w := s.newUpload(ctx, id, length)
	w.size = kept.Size
	if len(kept.State) > 0 {
		if err := json.Unmarshal(kept.State, &w.multipart); err != nil {
			return nil, fmt.Errorf("the state of an upload: %w", err)
		}
	}
	if w.Part <= 0 {
		w.Part = s.partSize(length)
	}
	if w.Upload != "" {
		w.id = kept.ID
	}
	if err := w.reserve(); err != nil {
		return nil, err
	}
	if err := w.readTail(); err != nil {
		w.free()
		return nil, err
	}
	return w, nil
}

// readTail reads the bytes after the last part.
func (w *upload) readTail() error {
	size := w.size - int64(len(w.ETags))*w.Part
	if size < 0 || size > w.Part || size > 0 && w.Tail == (ID{}) {
		return fmt.Errorf("an upload of %d bytes has %d parts of %d: %w", w.size, len(w.ETags), w.Part, ErrDamaged)
	}
	if size == 0 {
		return nil
	}
	r, err := w.s.Open(w.ctx, w.Tail, size, 0, size)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(&w.buffer, r); err != nil {
		return err
	}
	if sum := w.buffer.sum(); !bytes.Equal(sum[:], w.TailSum) {
		return fmt.Errorf("the last bytes of an upload have the SHA-256 %x, and not %x: %w", sum, w.TailSum, ErrDamaged)
	}
	return nil
}

// Leave implements [Writer].
func (w *upload) Leave(ctx context.Context) error {
	w.free()
	switch {
	case w.begun:
		return w.s.abort(ctx, w.id, w.Upload)
	case w.lost && w.Upload == "": // nothing is kept under this identifier
		return w.s.Discard(ctx, w.id)
	}
	return nil
}

// Abort implements [Writer].
func (w *upload) Abort(ctx context.Context) error {
	w.free()
	if w.lost {
		return w.s.Discard(ctx, w.id)
	}
	if w.Upload != "" {
		if err := w.s.abort(ctx, w.id, w.Upload); err != nil {
			return err
		}
	}
	return w.s.Delete(ctx, w.id)
}
