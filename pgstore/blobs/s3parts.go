package blobs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/minio/minio-go/v7"
)

// partsAtOnce is how many parts of an upload are in memory: on their way to S3, and one that fills. One after another, they
// would take a round trip each, and a connection to S3 is slower than most of the clients.
const partsAtOnce = 4

// A part is on its way to S3, or has failed.
type part struct {
	number int
	bytes  buffer
	etag   string
	err    error
	done   chan struct{} // closed when etag or err is set
}

// flush sends the bytes in memory as the next part.
func (w *upload) flush(ctx context.Context) error {
	number := len(w.ETags) + len(w.sent) + 1
	if number > maxParts {
		return fmt.Errorf("it has more than %d parts of %d bytes: %w", maxParts, w.Part, errors.ErrUnsupported)
	}
	if w.Upload == "" {
		limited, cancel := w.s.limit(ctx, 0)
		defer cancel()
		uploadID, err := w.s.core.NewMultipartUpload(limited, w.s.opts.Bucket, w.s.key(w.id), putOptions)
		if err != nil {
			w.lost = true
			return w.s.failed(ctx, "begin "+w.id.String(), err)
		}
		w.Upload, w.begun = uploadID, true
	}
	p := &part{number: number, bytes: w.buffer}
	w.buffer, w.sent = buffer{}, append(w.sent, p)
	w.send(p)
	return nil
}

// send begins to send a part, for the first time or again. It goes on when the request that has brought the bytes has ended,
// since the bytes may be kept for a later request.
func (w *upload) send(p *part) {
	p.done, p.etag, p.err = make(chan struct{}), "", nil
	if w.ended {
		close(p.done)
		return
	}
	key, uploadID := w.s.key(w.id), w.Upload
	go func() {
		defer close(p.done)
		limited, cancel := w.s.limit(w.sending, partsAtOnce*p.bytes.size) // the others take their share of the line
		defer cancel()
		sum := p.bytes.sum()
		var stored minio.ObjectPart
		stored, p.err = w.s.core.PutObjectPart(limited, w.s.opts.Bucket, key, uploadID, p.number, p.bytes.reader(),
			p.bytes.size, minio.PutObjectPartOptions{Sha256Hex: hex.EncodeToString(sum[:]), DisableContentSha256: true})
		if p.etag = stored.ETag; p.err == nil && p.etag == "" {
			p.err = errors.New("the answer to a part has no ETag")
		}
	}()
}

// land waits for the oldest of the parts that are on their way.
func (w *upload) land(ctx context.Context) error {
	p := w.sent[0]
	select {
	case <-p.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch {
	case codeOf(p.err) == minio.NoSuchUpload && !w.begun:
		w.ended = true
	case p.err != nil:
		return w.s.failed(ctx, fmt.Sprintf("write part %d of %v", p.number, w.id), p.err)
	}
	w.ETags, w.sent = append(w.ETags, p.etag), w.sent[1:]
	p.bytes.reset()
	return nil
}

// next sends a full part, and waits until there is memory for another. More memory than that of one part is taken only as
// long as no other upload waits for some.
func (w *upload) next() error {
	if err := w.flush(w.ctx); err != nil {
		return err
	}
	for {
		need := int64(len(w.sent)+1) * w.Part
		switch {
		case len(w.sent) > 0 && w.sent[0].landed():
		case w.reserved > need:
			w.s.memory.Release(w.reserved - need)
			w.reserved = need
			return nil
		case w.reserved == need:
			return nil
		case len(w.sent) < partsAtOnce && w.s.memory.TryAcquire(need-w.reserved):
			w.reserved = need
			return nil
		}
		if err := w.land(w.ctx); err != nil {
			return err
		}
	}
}

func (p *part) landed() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// settle waits for all parts that are on their way. Those that have failed are sent once more.
func (w *upload) settle(ctx context.Context) error {
	for _, p := range w.sent {
		if p.landed() && p.err != nil {
			w.send(p)
		}
	}
	for len(w.sent) > 0 {
		if err := w.land(ctx); err != nil {
			return err
		}
	}
	return nil
}

// free ends what is on its way, and gives the memory back.
func (w *upload) free() {
	w.stop()
	for _, p := range w.sent {
		<-p.done
		p.bytes.reset()
	}
	w.sent = nil
	w.buffer.reset()
	w.s.memory.Release(w.reserved)
	w.reserved = 0
}
