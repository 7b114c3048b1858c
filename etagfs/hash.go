package etagfs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ifmatch/etagfs/index"
	"ifmatch/fs"
	"ifmatch/limit"
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

// meet tells the index on which volume a file is.
func (s *Store) meet(f *fs.File, name string, info fs.Info) {
	if info.Device != s.root.device {
		dir, _ := tree.Split(name)
		s.index.Mounted(info.Device, s.fs.Volume(f), info.Mount != s.root.mount, dir)
	}
}

// meetUnknown is meet of a file on a device that the index knows nothing of, as after the start.
func (s *Store) meetUnknown(name string, info fs.Info) {
	if info.Kind != fs.Regular || info.Device == s.root.device || s.index.Knows(info.Device) {
		return
	}
	if f, now, err := s.fs.Open(name); err == nil && f != nil {
		s.meet(f, name, now)
		f.Close()
	}
}

// hash returns the tag of the file with this name, and of which version of it.
func (s *Store) hash(ctx context.Context, name string, how hashing) (info fs.Info, tag tree.ETag, err error) {
	for range how.rounds {
		if info, tag, err = s.hashOpened(ctx, name, how); !errors.Is(err, fs.ErrMoved) {
			break
		}
	}
	return info, tag, err
}

// hashOpened is hash of the file that has the name now. ErrMoved says that it is not known whether it still had it then.
func (s *Store) hashOpened(ctx context.Context, name string, how hashing) (fs.Info, tree.ETag, error) {
	f, info, err := s.open(ctx, name)
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
	capture    []*capture
}

// A capture is what a file had in one place while it was hashed.
type capture struct {
	offset int64
	data   []byte // so much of it
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
func (s *Store) hashFile(ctx context.Context, f *fs.File, info fs.Info, how hashing) (fs.Info, tree.ETag, error) {
	for range how.rounds {
		if tag, ok := s.index.Tag(info.Fingerprint); ok {
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

// hashOnce hashes an open file and looks at it, or waits for whoever does. With errChanged it returns only the look.
//
// What is hashed under a lease that is held from the look until the end is of that version, and remembered. Where a
// program has the file open for writing, two looks that agree say that the bytes were there, and no more; without leases
// they are believed of a file that was left alone for a while.
func (s *Store) hashOnce(ctx context.Context, f *fs.File, info fs.Info, how hashing) (fs.Info, [sha256.Size]byte, error) {
	ctx, cancel := tree.HashContext(ctx)
	defer cancel()
	found := s.together(ctx, f, info, how)
	again := found.info
	again.Name = info.Name
	again = again.FoundAs(info)
	if found.err == nil && how.alone && found.writer {
		return again, found.sum, errWriter
	}
	return again, found.sum, found.err
}

// fly hashes an open file for all who wait for that.
func (s *Store) fly(ctx context.Context, f *fs.File, info fs.Info, how hashing, one *flight) {
	if !how.background {
		end, err := s.turnToHash(ctx, info.Size, leadPatience)
		if err != nil {
			one.info, one.err = info, err
			return
		}
		defer end()
	}
	// Not before it is our turn: a program that wants to write would wait for that.
	lease, writer, remember := s.lease(f, info)
	if lease != nil {
		defer lease.Release()
	}
	one.info, one.writer = info, writer
	switch {
	case writer && how.alone:
		one.err = errWriter
	case how.background && !remember:
		one.err = errNotNow
	case lease != nil || one.late: // what was seen before that may be no more
		one.info, one.err = s.refresh(f, info)
	}
	if one.err == nil && !remember && s.takesTooLong(ctx, one.info.Size) {
		one.err = context.DeadlineExceeded
	}
	if one.err != nil {
		return
	}
	if !how.background {
		s.asked.Add(1)
		defer s.asked.Add(-1)
	}
	held := func() bool { return lease == nil || lease.Held() }
	hold := func() bool {
		runtime.Gosched() // requests that read little need not wait until the scheduler takes the processor away
		s.giveWay(ctx, one, held)
		return held()
	}
	begun := time.Now()
	var err error
	one.sum, err = s.sum(ctx, f, one.info.Size, hold, one.capture)
	if err != nil && !errors.Is(err, errChanged) {
		one.err = err
		return
	}
	again, failed := s.refresh(f, info)
	if failed != nil {
		one.err = failed
		return
	}
	if err != nil || !held() || again.Fingerprint != one.info.Fingerprint {
		one.info, one.err = again, errChanged
		return
	}
	s.hashedIn(one.info.Size, time.Since(begun))
	if remember {
		one.remembered = true
		s.remember(again.Fingerprint, tree.TagOf(one.sum))
	}
}

// hashedUnasked is how much, in bytes, is hashed without waiting for a turn: a millisecond's work.
const hashedUnasked = 1 << 20

// hashPatience is how long a condition waits until it is its turn to hash a file. What can do without a tag waits as long
// as its context says.
const hashPatience = 30 * time.Second

// leadPatience is how long others, who may have a turn, wait for one who hashes for all until it is theirs.
const leadPatience = time.Second

// turnToHash waits until a client may have so much hashed beside what others do.
func (s *Store) turnToHash(ctx context.Context, size int64, patience time.Duration) (end func(), err error) {
	if size <= hashedUnasked {
		return func() {}, nil
	}
	slot, err := s.hashes.Acquire(ctx, tree.ClientOf(ctx), patience, nil)
	if err != nil {
		return nil, err
	}
	return slot.Release, nil
}

// remember keeps the tag of a version. One that is known already has a record that says more.
func (s *Store) remember(f fs.Fingerprint, tag tree.ETag) {
	if known, ok := s.index.Tag(f); !ok || known != tag {
		s.index.Put(f, index.RecordOf(tag))
	}
}

// lease takes a lease on a file, where that is to be had, and reports whether a writer is in its way, and whether what is
// hashed now may be remembered.
func (s *Store) lease(f *fs.File, info fs.Info) (lease *fs.Lease, writer, remember bool) {
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

// isWritten reports whether a program has a file open for writing.
func (s *Store) isWritten(f *fs.File, info fs.Info) bool {
	lease, writer, _ := s.lease(f, info)
	if lease != nil {
		lease.Release()
	}
	return writer
}

// refresh looks at an open file again.
func (s *Store) refresh(f *fs.File, info fs.Info) (fs.Info, error) {
	again, err := s.fs.Refresh(f)
	again.Name = info.Name
	again = again.FoundAs(info)
	return again, err
}

// flights are the hashes that are being computed. Each file is hashed once at a time, however many ask.
//
// What was read before somebody came is for them only if it is remembered: a lease says then that the file has not
// changed since the look that it belongs to, which is the same as theirs. Otherwise they wait for the next one, which is
// for all who have come before it begins.
type flights struct {
	mu      sync.Mutex
	running map[fileKey]*flight // the one that is being computed
	next    map[fileKey]*flight // and the one after that, if anybody waits for it
}

// A fileKey tells a file from others, whatever its content.
type fileKey struct {
	mount, device, inode uint64
	born                 int64
}

func keyOf(i fs.Info) fileKey { return fileKey{i.Mount, i.Device, i.Inode, i.Born} }

type flight struct {
	wanted  atomic.Bool   // somebody waits for it
	waiting int           // so many wait for it to begin
	late    bool          // some who wait have come after the look of the one who begins it
	capture []*capture    // what they want besides
	done    chan struct{} // closed when the rest is set

	info       fs.Info // the look to which the sum belongs; with errChanged a later one
	sum        [sha256.Size]byte
	err        error
	remembered bool
	writer     bool // a program had the file open for writing
}

// together returns a hash of an open file that is begun now, by us or by another, or was begun before and is as good.
func (s *Store) together(ctx context.Context, f *fs.File, info fs.Info, how hashing) *flight {
	one := &flight{done: make(chan struct{})}
	if info.Inode == 0 { // nothing tells files apart
		one.capture = how.capture
		one.wanted.Store(!how.background)
		s.fly(ctx, f, info, how, one)
		return one
	}
	key := keyOf(info)
	last := time.Now().Add(hashPatience)
	lead := func(ours *flight) (again bool) {
		defer s.flights.end(key, ours)
		s.fly(ctx, f, info, how, ours)
		return errors.As(ours.err, new(*limit.Error)) && time.Now().Before(last)
	}
	for {
		before, ours, begin := s.flights.join(key, how)
		if begin {
			if !lead(ours) {
				return ours
			}
			continue
		}
		if how.alone && s.isWritten(f, info) {
			s.flights.leave(key, ours)
			return &flight{info: info, err: errWriter}
		}
		// Until the one before is through, ours does not begin.
		select {
		case <-before.done:
			if before.remembered && before.info.Fingerprint == info.Fingerprint && how.capture == nil {
				s.flights.leave(key, ours)
				return before
			}
		case <-ctx.Done():
			s.flights.leave(key, ours)
			return &flight{info: info, err: ctx.Err()}
		}
		if s.flights.begin(key, ours) {
			if !lead(ours) {
				return ours
			}
			continue
		}
		select {
		case <-ours.done:
		case <-ctx.Done():
			return &flight{info: info, err: ctx.Err()}
		}
		if !ours.gaveUp(how) {
			return ours
		}
		// The one who hashed for all has given up, we have not.
	}
}

// gaveUp reports whether a flight has failed for a reason that is none for who waits for it.
func (one *flight) gaveUp(how hashing) bool {
	return isGivenUp(one.err) || errors.As(one.err, new(*limit.Error)) ||
		!how.background && errors.Is(one.err, errNotNow) || !how.alone && errors.Is(one.err, errWriter)
}

// join returns the flight of a file that is for us. It begins with us, or is the next after the one that is running.
func (f *flights) join(key fileKey, how hashing) (before, ours *flight, begin bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == nil {
		f.running, f.next = map[fileKey]*flight{}, map[fileKey]*flight{}
	}
	before, ours = f.running[key], f.next[key]
	if ours == nil {
		ours = &flight{done: make(chan struct{})}
		if before != nil {
			f.next[key] = ours
		}
	}
	ours.capture = append(ours.capture, how.capture...)
	if !how.background {
		ours.wanted.Store(true)
		if before != nil {
			before.wanted.Store(true)
		}
	}
	if before != nil {
		ours.waiting++
		return before, ours, false
	}
	delete(f.next, key)
	f.running[key] = ours
	return nil, ours, true
}

// begin reports whether a flight is for the caller to begin: the one before it is through, and nobody has begun it.
func (f *flights) begin(key fileKey, ours *flight) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next[key] != ours || f.running[key] != nil {
		return false
	}
	delete(f.next, key)
	f.running[key], ours.late = ours, true
	return true
}

// leave ends the wait for a flight. One for which nobody waits is forgotten.
func (f *flights) leave(key fileKey, ours *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ours.waiting--; ours.waiting == 0 && f.next[key] == ours {
		delete(f.next, key)
	}
}

func (f *flights) end(key fileKey, one *flight) {
	f.mu.Lock()
	delete(f.running, key)
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

func isGivenUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// sum hashes the first size bytes of an open file. It asks before each chunk whether to go on, and fails with errChanged
// where it is not.
func (s *Store) sum(ctx context.Context, f *fs.File, size int64, hold func() bool, wanted []*capture) (sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	to := io.Writer(hash)
	if len(wanted) > 0 {
		slices.SortFunc(wanted, func(a, b *capture) int { return cmp.Compare(a.offset, b.offset) })
		to = &capturer{Writer: hash, wanted: wanted}
	}
	_, err = copyBody(ctx, to, io.NewSectionReader(heldReader{readerAt{s.fs, f}, hold}, 0, size))
	hash.Sum(sum[:0])
	return sum, ourFault(err)
}

// A capturer keeps some of what is written to a hash.
type capturer struct {
	io.Writer
	wanted []*capture // by offset
	at     int64
}

func (c *capturer) Write(p []byte) (int, error) {
	end := c.at + int64(len(p))
	for _, one := range c.wanted {
		if one.offset >= end {
			break
		}
		if from := max(one.offset, c.at); from < one.offset+int64(len(one.data)) {
			copy(one.data[from-one.offset:], p[from-c.at:])
		}
	}
	for len(c.wanted) > 0 && c.wanted[0].offset+int64(len(c.wanted[0].data)) <= end {
		c.wanted = c.wanted[1:]
	}
	c.at = end
	return c.Writer.Write(p)
}

// hashedIn notes how long it took to hash so much.
func (s *Store) hashedIn(size int64, took time.Duration) {
	if size < paceSize || took <= 0 {
		return
	}
	pace := int64(float64(size) / took.Seconds())
	for known := s.pace.Load(); pace > known && !s.pace.CompareAndSwap(known, pace); known = s.pace.Load() {
	}
}

// paceSize is how much, in bytes, says how fast this machine hashes.
const paceSize = 16 << 20

// takesTooLong reports whether so much cannot be hashed in time, even as fast as it ever was. What could not be
// remembered either is not worth to be begun.
func (s *Store) takesTooLong(ctx context.Context, size int64) bool {
	end, bounded := ctx.Deadline()
	pace := s.pace.Load()
	return bounded && pace > 0 && float64(size)/float64(pace) > time.Until(end).Seconds()
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
	file *fs.File
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
func copyBody(ctx context.Context, dst io.Writer, src io.Reader) (int64, error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	return copyWith(ctx, dst, src, *buffer, func(int) []byte { return *buffer })
}

// smallBuffers are for those who wait for a client.
var smallBuffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// receiveBody is copyBody of what a client sends. It has a large buffer while there is enough to fill it: a client that
// sends little at a time, or nothing, holds a small one.
func receiveBody(ctx context.Context, dst io.Writer, src io.Reader) (int64, error) {
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
	return copyWith(ctx, dst, src, *small, func(n int) []byte {
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

// copyWith copies with a buffer, and asks for the next one after each time that something was read.
func copyWith(ctx context.Context, dst io.Writer, src io.Reader, buffer []byte, next func(n int) []byte) (written int64, err error) {
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
			return written, &tree.BodyError{Err: err}
		}
		buffer = next(n)
	}
}
