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

// buffers are for copying and hashing. A buffer of more than 256 KiB makes neither of them faster.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// settled is how long a file must have been left unchanged before its tag is remembered, if there are no leases. Some
// file systems stamp a change before its bytes can be read. So a look, a hash and a second look can agree, and the hash
// can still be wrong. A coarse clock gives two changes the same time stamp.
const (
	settled       = 2 * time.Second
	settledCoarse = 5 * time.Second // if time stamps are multiples of one second, or of two
)

// untilSettled returns how long a version must still be left unchanged before its tag may be remembered, if no lease
// shows that no program is writing to the file.
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
		last = info.Modified // any program can set this time, even to the year 2100
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

// meetUnknown is meet for a file on a device that the index does not know, for example after the start.
func (s *Store) meetUnknown(name string, info fs.Info) {
	if info.Kind != fs.Regular || info.Device == s.root.device || s.index.Knows(info.Device) {
		return
	}
	if f, now, err := s.fs.Open(name); err == nil && f != nil {
		s.meet(f, name, now)
		f.Close()
	}
}

// hash returns the tag of the file with this name, and the look at the version that has this tag.
func (s *Store) hash(ctx context.Context, name string, how hashing) (info fs.Info, tag tree.ETag, err error) {
	for range how.rounds {
		if info, tag, err = s.hashOpened(ctx, name, how); !errors.Is(err, fs.ErrMoved) {
			break
		}
	}
	return info, tag, err
}

// hashOpened is hash for the file that has the name now. ErrMoved says that it is unknown whether the hashed file still
// had the name at that time.
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

// hashing says for which purpose a file is hashed: how often a file that changes meanwhile is hashed again, and whether
// the hash may wait.
type hashing struct {
	rounds     int
	background bool // it gives way to the hashes that a request waits for
	alone      bool // it fails with ErrWriter, and reads nothing, if a program has the file open for writing
	capture    []*capture
}

// A capture is the content of a file at one offset, taken while the file was hashed.
type capture struct {
	offset int64
	data   []byte // its length is the number of bytes to capture
}

// An answer can do without the tag. A condition cannot.
var (
	forAnswer = hashing{rounds: 2}
	forCheck  = hashing{rounds: 4}
	alone     = hashing{rounds: 4, alone: true}
	ahead     = hashing{rounds: 1, background: true}
)

// smallRounds is how many times as often a small file is hashed again. That takes little time. Where no lease tells a
// rename from a change, the commits of other clients count as changes too.
const smallRounds = 4

// hashFile returns the tag of an open file, and the look at the file to which the tag belongs: info, or a later look.
// ErrBusy, with the last look, says that the file changed during each hash.
func (s *Store) hashFile(ctx context.Context, f *fs.File, info fs.Info, how hashing) (fs.Info, tree.ETag, error) {
	rounds := how.rounds
	if info.Size <= chunkSize && !how.background {
		rounds *= smallRounds
	}
	for range rounds {
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
	// errChanged says that a program wrote to a file while the file was hashed.
	errChanged = errors.New("the file has changed meanwhile")
	// errNotNow says that a file was not hashed ahead of need, because its tag could not be remembered.
	errNotNow = errors.New("the file is being written, or was a moment ago")
)

// hashOnce hashes an open file and looks at it, or waits for a hash that another caller computes. With errChanged it
// returns only the look.
//
// A hash under a lease that is held from the look until the end is of the version that the look has found, and is
// remembered. A commit may rename the file meanwhile, which changes only the time of change: the hash is of the last
// look then. If a program has the file open for writing, two looks that agree say that the bytes were there, and no
// more. Without leases, two looks that agree are believed if the file was left unchanged for a while.
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

// fly hashes an open file for all callers that wait for the flight.
func (s *Store) fly(ctx context.Context, f *fs.File, info fs.Info, how hashing, one *flight) {
	if !how.background {
		end, err := s.turnToHash(ctx, info.Size, leadPatience)
		if err != nil {
			one.info, one.err = info, err
			return
		}
		defer end()
	}
	// Take the lease only when the turn has come. A program that wants to write waits for the end of the lease, and
	// would wait for the turn, too.
	lease, writer, remember := s.lease(f, info)
	if lease != nil {
		defer lease.Release()
	}
	mark := s.index.Mark(info.Fingerprint)
	one.info, one.writer = info, writer
	switch {
	case writer && how.alone:
		one.err = errWriter
	case how.background && !remember:
		one.err = errNotNow
	case lease != nil || one.late: // the file may have changed since the look before
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
		// Requests that read little need not wait until the scheduler takes the processor away from this goroutine.
		runtime.Gosched()
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
	same := again.Fingerprint == one.info.Fingerprint
	if lease != nil && s.provesContent(again) && s.fs.AbilitiesOf(again).LeasesSeeMaps {
		same = again.SameFile(one.info) && again.Size == one.info.Size // nothing can have written to it
	}
	if err != nil || !held() || !same {
		one.info, one.err = again, errChanged
		return
	}
	s.hashedIn(one.info.Size, time.Since(begun))
	one.first, one.info = one.info.Fingerprint, again
	if remember {
		one.remembered = true
		s.index.Learn(again.Fingerprint, index.RecordOf(tree.TagOf(one.sum)), mark)
	}
}

// hashedUnasked is how many bytes are hashed without waiting for a turn. They take about a millisecond.
const hashedUnasked = 1 << 20

// hashPatience is how long a condition waits for its turn to hash a file. A caller that can do without the tag waits as
// long as its context allows.
const hashPatience = 30 * time.Second

// leadPatience is how long the caller that hashes for all callers waits for its turn. Then another caller, which may
// have a turn, begins the hash.
const leadPatience = time.Second

// turnToHash waits until the client may have a file of this size hashed, beside other hashes.
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

// provesContent reports whether a lease on a file proves that its content is the same, and the next look at the file
// shows each later change. If the clock is coarse, a change can have the time stamp of the change before it. On an
// overlay, the lease can be on the file in the lower layer, to which no program writes.
func (s *Store) provesContent(info fs.Info) bool {
	able := s.fs.AbilitiesOf(info)
	return able.Leases && able.FineTimes
}

// lease takes a lease on a file, if one can be had. It reports whether a writer prevents the lease, and whether a hash
// that is made now may be remembered.
func (s *Store) lease(f *fs.File, info fs.Info) (lease *fs.Lease, writer, remember bool) {
	able := s.fs.AbilitiesOf(info)
	// A volume that is read-only, or that is mounted below the root and was not written to, was not tried for leases.
	if !able.Exclusive && (able.Leases || s.fs.Volume(f).Leases) {
		lease, err := s.fs.Lease(f)
		if err == nil {
			return lease, false, s.provesContent(info) || s.untilSettled(info) <= 0
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

// flights are the hashes that are being computed. Each file is hashed once at a time, however many callers ask.
//
// If a caller comes during a hash, this hash is for the caller only if it is remembered. A lease says then that the
// file has not changed since the look to which the hash belongs, which is the same as the look of the caller. Otherwise
// the caller waits for the next hash, which is for all callers that have come before it begins.
type flights struct {
	mu      sync.Mutex
	running map[fileKey]*flight // the one that is being computed
	next    map[fileKey]*flight // the one after that, if a caller waits for it
}

// A fileKey identifies a file, independently of its content.
type fileKey struct {
	mount, device, inode uint64
	born                 int64
}

func keyOf(i fs.Info) fileKey { return fileKey{i.Mount, i.Device, i.Inode, i.Born} }

type flight struct {
	wanted  atomic.Bool   // a caller that is not in the background waits for it
	waiting int           // how many callers wait for it to begin
	late    bool          // some callers have come after the look of the caller that begins it
	capture []*capture    // the parts of the content that the callers want, too
	done    chan struct{} // closed when the fields below are set

	first      fs.Fingerprint // of the look from which on a lease was held, if the sum is remembered
	info       fs.Info        // the look to which the sum belongs, or a later look with errChanged
	sum        [sha256.Size]byte
	err        error
	remembered bool
	writer     bool // a program had the file open for writing
}

// together returns a hash of an open file. Either this caller or another one begins the hash now, or the hash was begun
// before and is as good.
func (s *Store) together(ctx context.Context, f *fs.File, info fs.Info, how hashing) *flight {
	one := &flight{done: make(chan struct{})}
	if info.Inode == 0 { // no inode number tells files apart
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
		// The next hash does not begin until the hash before it has ended.
		select {
		case <-before.done:
			if before.isOf(info) && how.capture == nil {
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
		// The caller that hashed for all has given up. This caller has not.
	}
}

// isOf reports whether a flight that has ended has hashed the version that a look has found.
func (one *flight) isOf(look fs.Info) bool {
	return one.remembered && (look.Fingerprint == one.first || look.Fingerprint == one.info.Fingerprint)
}

// gaveUp reports whether a flight has failed for a reason that does not concern a caller that waits for it.
func (one *flight) gaveUp(how hashing) bool {
	return isGivenUp(one.err) || errors.As(one.err, new(*limit.Error)) ||
		!how.background && errors.Is(one.err, errNotNow) || !how.alone && errors.Is(one.err, errWriter)
}

// join returns the flight of a file in which the caller takes part. Either the caller begins it now, or it comes next
// after the flight that is running.
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

// begin reports whether the caller is to begin a flight: the flight before it has ended, and no other caller has begun
// this one.
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

// leave ends the wait for a flight. A flight for which no caller waits is forgotten.
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

// giveWay holds up a hash for which no request waits, as long as there are hashes for which requests wait.
func (s *Store) giveWay(ctx context.Context, one *flight, hold func() bool) {
	for !one.wanted.Load() && s.asked.Load() > 0 && hold() {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// pause is how long a program that wants to write waits at most for a hash that is held up.
const pause = time.Millisecond

func isGivenUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// sum hashes the first size bytes of an open file. It calls hold before each chunk, and fails with errChanged if hold
// returns false.
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

// A capturer writes to a hash, and keeps the wanted parts of the content.
type capturer struct {
	io.Writer
	wanted []*capture // sorted by offset
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

// hashedIn notes how long it took to hash size bytes.
func (s *Store) hashedIn(size int64, took time.Duration) {
	if size < paceSize || took <= 0 {
		return
	}
	pace := int64(float64(size) / took.Seconds())
	for known := s.pace.Load(); pace > known && !s.pace.CompareAndSwap(known, pace); known = s.pace.Load() {
	}
}

// paceSize is how many bytes a hash must have, at least, to show how fast this machine hashes.
const paceSize = 16 << 20

// takesTooLong reports whether size bytes cannot be hashed before the deadline, even at the highest pace so far. If the
// tag could not be remembered either, such a hash is not worth beginning.
func (s *Store) takesTooLong(ctx context.Context, size int64) bool {
	end, bounded := ctx.Deadline()
	pace := s.pace.Load()
	return bounded && pace > 0 && float64(size)/float64(pace) > time.Until(end).Seconds()
}

// ourFault removes the blame that copyBody puts on a client, if the read that failed was of our own disk.
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

// smallBuffers are for reads that wait for a client.
var smallBuffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// receiveBody is copyBody for the body that a client sends. It has a large buffer as long as the client sends enough to
// fill the buffer. For a client that sends little at a time, or nothing, it holds a small one.
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

// copyWith copies with a buffer, and calls next after each read for the buffer of the next one.
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
