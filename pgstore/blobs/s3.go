package blobs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/semaphore"
)

// An S3 keeps each object under a key of its own in a bucket. It asks for no conditions, copies, renames, versions or
// locks: only that an object can be read, and a range of it, as soon as it has been stored.
type S3 struct {
	core   *minio.Core
	opts   S3Options
	memory *semaphore.Weighted // for the parts of uploads
}

// key returns the name of an object. There are 256 prefixes, by the last byte, which is random.
func (s *S3) key(id ID) string {
	return path.Join(s.opts.Prefix, hex.EncodeToString(id[15:]), id.String())
}

// limit bounds the time of a call by the bytes that it moves.
func (s *S3) limit(ctx context.Context, bytes int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.opts.Patience+time.Duration(bytes/s.opts.Rate)*time.Second)
}

// failed returns an error of the caller's context as it is, and explains another.
func (s *S3) failed(ctx context.Context, did string, err error) error {
	if err == nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	return fmt.Errorf("S3 at %s, %s: %w", s.opts.Endpoint, did, s.explained(err))
}

// Create implements [Store]. It waits until there is memory for a part.
func (s *S3) Create(ctx context.Context, id ID, length int64) (Writer, error) {
	w := s.newUpload(ctx, id, length)
	w.Part = s.partSize(length)
	if err := w.reserve(); err != nil {
		return nil, err
	}
	return w, nil
}

// partSize returns the size of all parts but the last of an object of that length. There are at most 10,000 parts.
func (s *S3) partSize(length int64) int64 {
	if length < 0 {
		return 2 * s.opts.Part
	}
	const most = 9000
	part := (length + most - 1) / most
	return max(s.opts.Part, (part+Step-1)/Step*Step)
}

// Open implements [Store].
func (s *S3) Open(ctx context.Context, id ID, size, offset, n int64) (io.ReadCloser, error) {
	if n <= 0 {
		return io.NopCloser(strings.NewReader("")), nil
	}
	r := &download{s: s, ctx: ctx, id: id, size: size, offset: offset, left: n, tries: downloadTries}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// Delete implements [Store].
func (s *S3) Delete(ctx context.Context, id ID) error {
	limited, cancel := s.limit(ctx, 0)
	defer cancel()
	err := s.core.RemoveObject(limited, s.opts.Bucket, s.key(id), minio.RemoveObjectOptions{})
	if errors.Is(s.explained(err), iofs.ErrNotExist) {
		return nil
	}
	return s.failed(ctx, "delete "+id.String(), err)
}

// Discard implements [Store]. It ends uploads in parts that were begun.
func (s *S3) Discard(ctx context.Context, id ID) error {
	if err := s.Delete(ctx, id); err != nil {
		return err
	}
	limited, cancel := s.limit(ctx, 0)
	defer cancel()
	begun, err := s.core.ListMultipartUploads(limited, s.opts.Bucket, s.key(id), "", "", "", 1000)
	if err != nil {
		return s.failed(ctx, "list uploads", err)
	}
	for _, one := range begun.Uploads {
		if one.Key != s.key(id) {
			continue
		}
		if err := s.abort(ctx, id, one.UploadID); err != nil {
			return err
		}
	}
	return nil
}

// abort ends an upload in parts. It is no error if it has ended.
func (s *S3) abort(ctx context.Context, id ID, uploadID string) error {
	limited, cancel := s.limit(ctx, 0)
	defer cancel()
	err := s.core.AbortMultipartUpload(limited, s.opts.Bucket, s.key(id), uploadID)
	if codeOf(err) == minio.NoSuchUpload {
		return nil
	}
	return s.failed(ctx, "end an upload", err)
}

// listed is how many objects one call lists.
const listed = 1000

// List implements [Store].
func (s *S3) List(ctx context.Context) iter.Seq2[ID, error] {
	return func(yield func(ID, error) bool) {
		after := ""
		for {
			keys, err := s.page(ctx, after)
			if err != nil {
				yield(ID{}, s.failed(ctx, "list", err))
				return
			}
			for _, key := range keys {
				id, err := uuid.Parse(path.Base(key))
				if err == nil && key == s.key(id) && !yield(id, nil) {
					return
				}
			}
			if len(keys) < listed {
				return
			}
			if keys[len(keys)-1] <= after {
				yield(ID{}, s.failed(ctx, "list", errors.New("it lists the same objects again: the server must take start-after")))
				return
			}
			after = keys[len(keys)-1]
		}
	}
}

// page returns the next keys after one.
func (s *S3) page(ctx context.Context, after string) (keys []string, err error) {
	limited, cancel := s.limit(ctx, 0)
	defer cancel()
	opts := minio.ListObjectsOptions{Recursive: true, MaxKeys: listed, StartAfter: after}
	if s.opts.Prefix != "" {
		opts.Prefix = s.opts.Prefix + "/"
	}
	for object := range s.core.ListObjectsIter(limited, s.opts.Bucket, opts) {
		if object.Err != nil {
			return nil, object.Err
		}
		if keys = append(keys, object.Key); len(keys) == listed {
			break
		}
	}
	return keys, limited.Err()
}

// probe tries an upload in parts.
func (s *S3) probe(ctx context.Context) error {
	id := uuid.New()
	limited, cancel := s.limit(ctx, 0)
	defer cancel()
	uploadID, err := s.core.NewMultipartUpload(limited, s.opts.Bucket, s.key(id), putOptions)
	if err == nil {
		err = s.core.AbortMultipartUpload(limited, s.opts.Bucket, s.key(id), uploadID)
	}
	return s.failed(ctx, "an upload in parts", err)
}
