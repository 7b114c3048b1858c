package etagfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/afero"

	"ifmatch/fs"
	"ifmatch/tree"
)

// buffers are for copying and hashing; 256 KiB is where both stop getting faster.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// settled is how long a file must have been left alone before its tag is remembered. Some file systems stamp a change
// before its bytes can be read, so that a look, a hash and a second look can agree and still be wrong; a coarse clock
// gives two changes the same stamp.
const (
	settled       = 2 * time.Second
	settledCoarse = 5 * time.Second // where stamps are whole seconds, or two
)

// untilSettled returns how long a version must still be left alone before its tag may be remembered.
func (s *Store) untilSettled(info fs.Info) time.Duration {
	if s.fs.Abilities().Exclusive {
		return 0
	}
	need := settled
	if info.Changed%int64(time.Second) == 0 {
		need = settledCoarse
	}
	last := info.Changed
	if last == 0 {
		last = info.Modified // which anybody can set, to the year 2100 too
	}
	return need - s.now().Sub(time.Unix(0, last))
}

func (s *Store) open(name string) (afero.File, fs.Info, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.fs.Open(name)
}

// hash returns the tag of the file with this name, and of which version of it.
func (s *Store) hash(ctx context.Context, name string, rounds int) (fs.Info, tree.ETag, error) {
	f, info, err := s.open(name)
	if err != nil {
		return fs.Info{}, "", translate(err)
	}
	if f == nil {
		return info, "", nil
	}
	defer f.Close()
	return s.hashFile(ctx, f, info, rounds)
}

// How often a file that changes under the hash is hashed again: an answer can do without the tag, a condition cannot.
const (
	readRounds      = 2
	checkHashRounds = 4
)

// hashFile returns the tag of an open file, and the look at it to which the tag belongs: info, or a later
// one. ErrBusy, with the last look, says that it changed each time.
func (s *Store) hashFile(ctx context.Context, f afero.File, info fs.Info, rounds int) (fs.Info, tree.ETag, error) {
	for range rounds {
		if tag, ok := s.index.get(info.Fingerprint); ok {
			return info, tag, nil
		}
		remember := s.untilSettled(info) <= 0
		sum, err := s.sumOnce(ctx, f, info)
		if err != nil {
			return fs.Info{}, "", translate(err)
		}
		again, err := s.fs.Refresh(f)
		if err != nil {
			return fs.Info{}, "", translate(err)
		}
		again.Name, again.Linked = info.Name, info.Linked
		if again.Fingerprint == info.Fingerprint {
			tag := tree.TagOf(sum)
			if remember {
				s.index.put(info.Fingerprint, knownBy(tag))
			}
			return info, tag, nil
		}
		info = again
	}
	return info, "", tree.ErrBusy
}

// sumOnce hashes each version once at a time, however many ask.
func (s *Store) sumOnce(ctx context.Context, f afero.File, info fs.Info) ([sha256.Size]byte, error) {
	if info.Inode == 0 {
		return s.sum(ctx, f, info.Size) // two files can look the same here
	}
	for {
		sum, err, _ := s.hashing.Do(fmt.Sprint(info.Fingerprint), func() (any, error) {
			return s.sum(ctx, f, info.Size)
		})
		if err == nil {
			return sum.([sha256.Size]byte), nil
		}
		givenUp := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
		if !givenUp || ctx.Err() != nil {
			return [sha256.Size]byte{}, err
		}
		// The one who hashed for all has given up, we have not.
	}
}

func (s *Store) sum(ctx context.Context, f afero.File, size int64) (sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	_, err = copyBody(ctx, hash, io.NewSectionReader(readerAt{s.fs, f}, 0, size))
	hash.Sum(sum[:0])
	return sum, ourFault(err)
}

// ourFault takes back the blame that copyBody puts on a client where what failed to read is our own disk.
func ourFault(err error) error {
	if body := new(tree.BodyError); errors.As(err, &body) {
		return body.Err
	}
	return err
}

// readerAt reads a file through the table of system calls.
type readerAt struct {
	fs   *fs.FS
	file afero.File
}

func (r readerAt) ReadAt(p []byte, offset int64) (int, error) { return r.fs.ReadAt(r.file, p, offset) }

// copyBody copies until the end of src, or until ctx is done. An error from src comes back as a [tree.BodyError].
func copyBody(ctx context.Context, dst io.Writer, src io.Reader) (written int64, err error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for {
		if err := ctx.Err(); err != nil {
			return written, err
		}
		n, err := src.Read(*buffer)
		if n > 0 {
			m, err := dst.Write((*buffer)[:n])
			written += int64(m)
			if err != nil {
				return written, err
			}
		}
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, &tree.BodyError{Err: err}
		}
	}
}
