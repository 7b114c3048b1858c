package etagfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/afero"

	"ifmatch/fs"
	"ifmatch/tree"
)

// buffers are for copying and hashing; 256 KiB is where both stop getting faster.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// settled is how long a file must have been left alone before its tag is remembered, where there are no leases. Some
// file systems stamp a change before its bytes can be read, so that a look, a hash and a second look can agree and still
// be wrong; a coarse clock gives two changes the same stamp.
const (
	settled       = 2 * time.Second
	settledCoarse = 5 * time.Second // where stamps are whole seconds, or two
)

// untilSettled returns how long a version must still be left alone before its tag may be remembered, where no lease says
// that nobody is writing.
func (s *Store) untilSettled(info fs.Info) time.Duration {
	if s.fs.AbilitiesOf(info).Exclusive {
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
	f, info, err := s.fs.Open(name)
	if f != nil && info.Device != s.root.device {
		s.index.meet(info.Device, s.fs.Volume(f), info.Mount != s.root.mount)
	}
	return f, info, err
}

// hash returns the tag of the file with this name, and of which version of it.
func (s *Store) hash(ctx context.Context, name string, how hashing) (fs.Info, tree.ETag, error) {
	f, info, err := s.open(name)
	if err != nil {
		return fs.Info{}, "", translate(err)
	}
	if f == nil {
		return info, "", nil
	}
	defer f.Close()
	return s.hashFile(ctx, f, info, how)
}

// hashing says for whom a file is hashed: how often one that changes meanwhile is hashed again, and whether it may wait.
type hashing struct {
	rounds     int
	background bool // it gives way to those that a request waits for
	alone      bool // it fails with ErrWriter, and reads nothing, where a program has the file open for writing
}

// An answer can do without the tag, a condition cannot.
var (
	forAnswer = hashing{rounds: 2}
	forCheck  = hashing{rounds: 4}
	alone     = hashing{rounds: 4, alone: true}
	ahead     = hashing{rounds: 1, background: true}
)

// hashFile returns the tag of an open file, and the look at it to which the tag belongs: info, or a later
// one. ErrBusy, with the last look, says that it changed each time.
func (s *Store) hashFile(ctx context.Context, f afero.File, info fs.Info, how hashing) (fs.Info, tree.ETag, error) {
	for range how.rounds {
		if tag, ok := s.index.get(info.Fingerprint); ok {
			return info, tag, nil
		}
		again, sum, err := s.hashOnce(ctx, f, info, how)
		switch {
		case err == nil:
			return again, tree.TagOf(sum), nil
		case !errors.Is(err, errChanged):
			return again, "", translate(err)
		}
		info = again
	}
	return info, "", tree.ErrBusy
}

var (
	// errChanged says that a file was written to while it was hashed.
	errChanged = errors.New("the file has changed meanwhile")
	// errNotNow says that what would be hashed ahead of need could not be remembered.
	errNotNow = errors.New("the file is being written, or was a moment ago")
)

// hashOnce hashes an open file and looks at it. With errChanged it returns only the look.
//
// What is hashed under a lease that is held from the look until the end is of that version, and remembered. Where a
// program has the file open for writing, two looks that agree say that the bytes were there, and no more; without leases
// they are believed of a file that was left alone for a while.
func (s *Store) hashOnce(ctx context.Context, f afero.File, info fs.Info, how hashing) (fs.Info, [sha256.Size]byte, error) {
	ctx, cancel := tree.HashContext(ctx)
	defer cancel()
	lease, writer, remember := s.lease(f, info)
	if writer && how.alone {
		return info, [sha256.Size]byte{}, tree.ErrWriter
	}
	if lease != nil {
		defer lease.Release()
		var err error
		if info, err = s.refresh(f, info); err != nil {
			return info, [sha256.Size]byte{}, err
		}
	}
	if how.background && !remember {
		return info, [sha256.Size]byte{}, errNotNow
	}
	if !how.background {
		s.asked.Add(1)
		defer s.asked.Add(-1)
	}
	hold := func() bool { return lease == nil || lease.Held() }
	var sum [sha256.Size]byte
	var err error
	if remember && info.Inode != 0 {
		sum, err = s.sumShared(ctx, f, info, hold, how)
	} else {
		// Somebody who came later must not get what was read before he came.
		sum, err = s.sum(ctx, f, info.Size, hold)
	}
	if err != nil && !errors.Is(err, errChanged) {
		return info, sum, err
	}
	again, failed := s.refresh(f, info)
	if failed != nil {
		return info, sum, failed
	}
	if err != nil || !hold() || again.Fingerprint != info.Fingerprint {
		return again, sum, errChanged
	}
	if remember {
		s.index.put(info.Fingerprint, knownBy(tree.TagOf(sum)))
	}
	return info, sum, nil
}

// lease takes a lease on a file, where that is to be had, and reports whether a writer is in its way, and whether what is
// hashed now may be remembered.
func (s *Store) lease(f afero.File, info fs.Info) (lease *fs.Lease, writer, remember bool) {
	able := s.fs.AbilitiesOf(info)
	// What is read-only, or is mounted below and was not written to, was not tried.
	if !able.Exclusive && (able.Leases || s.fs.Volume(f).Leases) {
		lease, err := s.fs.Lease(f)
		if err == nil {
			// Where the clock is coarse, a change can have the stamp of the one before; and on an overlay a lease can be on what
			// lies below, which nobody writes to.
			return lease, false, able.Leases && able.FineTimes || s.untilSettled(info) <= 0
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return nil, true, false
		}
	}
	return nil, false, s.untilSettled(info) <= 0
}

// refresh looks at an open file again.
func (s *Store) refresh(f afero.File, info fs.Info) (fs.Info, error) {
	again, err := s.fs.Refresh(f)
	again.Name, again.Linked = info.Name, info.Linked
	return again, err
}

// flights are the hashes that are being computed, so that each version is hashed once at a time, however many ask.
type flights struct {
	mu      sync.Mutex
	running map[fs.Fingerprint]*flight
}

type flight struct {
	done   chan struct{} // closed when the rest is set
	sum    [sha256.Size]byte
	err    error
	wanted atomic.Bool // somebody waits for it
}

// join returns the flight of a version, and whether it is a new one, which the caller has to end.
func (f *flights) join(version fs.Fingerprint, how hashing) (*flight, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one, ok := f.running[version]; ok {
		if !how.background {
			one.wanted.Store(true)
		}
		return one, false
	}
	one := &flight{done: make(chan struct{})}
	one.wanted.Store(!how.background)
	if f.running == nil {
		f.running = map[fs.Fingerprint]*flight{}
	}
	f.running[version] = one
	return one, true
}

func (f *flights) end(version fs.Fingerprint, one *flight) {
	f.mu.Lock()
	delete(f.running, version)
	f.mu.Unlock()
	close(one.done)
}

// giveWay holds up a hash that nobody waits for while there are others that somebody does.
func (s *Store) giveWay(ctx context.Context, one *flight, hold func() bool) {
	for !one.wanted.Load() && s.asked.Load() > 0 && hold() {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// pause is how long a program that wants to write waits at the most for a hash that is held up.
const pause = time.Millisecond

// sumShared hashes a version, or waits for whoever is hashing it.
func (s *Store) sumShared(ctx context.Context, f afero.File, info fs.Info, hold func() bool, how hashing) (sum [sha256.Size]byte, err error) {
	for {
		one, ours := s.flights.join(info.Fingerprint, how)
		if ours {
			one.sum, one.err = s.sum(ctx, f, info.Size, func() bool { s.giveWay(ctx, one, hold); return hold() })
			s.flights.end(info.Fingerprint, one)
			return one.sum, one.err
		}
		select {
		case <-one.done:
		case <-ctx.Done():
			return sum, ctx.Err()
		}
		if !isGivenUp(one.err) {
			return one.sum, one.err
		}
		// The one who hashed for all has given up, we have not.
	}
}

func isGivenUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// sum hashes the first size bytes of an open file. It asks before each chunk whether to go on, and fails with errChanged
// where it is not.
func (s *Store) sum(ctx context.Context, f afero.File, size int64, hold func() bool) (sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	_, err = copyBody(ctx, hash, io.NewSectionReader(heldReader{readerAt{s.fs, f}, hold}, 0, size))
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

// heldReader asks before each read whether to go on.
type heldReader struct {
	readerAt
	hold func() bool
}

func (r heldReader) ReadAt(p []byte, offset int64) (int, error) {
	if !r.hold() {
		return 0, errChanged
	}
	return r.readerAt.ReadAt(p, offset)
}

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
