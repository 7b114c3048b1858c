package etagfs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"ifmatch/etagfs/failure"
	"ifmatch/etagfs/index"
	"ifmatch/fs"
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
		return fs.Info{}, "", failure.Of(err)
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
	orKnown    bool // a hash that the index has by now will do
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
	how.orKnown = true
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
			return again, "", failure.Of(err)
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
		return again, found.sum, failure.ErrWriter
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
	changed := lease != nil || one.late // the file may have changed since the look before
	if one.err = s.mayFly(ctx, f, how, one, changed, remember); one.err != nil {
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

// mayFly returns nil if a flight may begin to read, and brings its look up to date if the file may have changed.
func (s *Store) mayFly(ctx context.Context, f *fs.File, how hashing, one *flight, changed, remember bool) error {
	switch {
	case one.writer && how.alone:
		return failure.ErrWriter
	case how.background && !remember:
		return errNotNow
	case changed:
		var err error
		if one.info, err = s.refresh(f, one.info); err != nil {
			return err
		}
	}
	if !remember && s.takesTooLong(ctx, one.info.Size) {
		return context.DeadlineExceeded
	}
	return nil
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

// hashes are the tags that a Check of one call has asked for. The key is the file as the look found it. These tags are
// used at once or never, so they need not be reliable enough to be remembered.
type hashes struct {
	tags map[seen]tree.ETag
	// doubtful are the versions that a program had open for writing when they were hashed. The time of a change can be
	// visible before its bytes, so the tag of such a version can be wrong. The tag may refuse a write, but it must not
	// permit a write after the program has closed the file.
	doubtful map[fs.Fingerprint]bool
	// scanned are the changes that were looked for since the Check has asked about them, see Since.
	scanned map[scanKey]bool
}

// forget deletes the tags of doubtful versions, so that these tags are unknown again.
func (h hashes) forget() {
	maps.DeleteFunc(h.tags, func(s seen, _ tree.ETag) bool { return h.doubtful[s.as] })
	clear(h.doubtful)
}
