package hashing

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// buffers are for copying and hashing. A buffer of more than 256 KiB makes neither of them faster.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// settled is how long a file must have been left unchanged before its tag is remembered, if there are no leases. Some
// file systems stamp a change before its bytes can be read. So a look, a hash and a second look can agree, and the hash
// can still be wrong. A coarse clock gives two changes the same time stamp.
const (
	settled       = 2 * time.Second
	SettledCoarse = 5 * time.Second // if time stamps are multiples of one second, or of two
)

// UntilSettled returns how long a version must still be left unchanged before its tag may be remembered, if no lease
// shows that no program is writing to the file.
func (h *Hasher) UntilSettled(info vfs.Info) time.Duration {
	if h.FS.AbilitiesOf(info).Exclusive {
		return 0
	}
	need := settled
	if info.Changed%int64(time.Second) == 0 {
		need = SettledCoarse
	}
	last := info.Changed
	if last == 0 {
		last = info.Modified // any program can set this time, even to the year 2100
	}
	return need - h.Now().Sub(time.Unix(0, last))
}

// Meet tells the index on which volume a file is.
func (h *Hasher) Meet(f *vfs.File, name string, info vfs.Info) {
	if info.Device != h.Root.Device {
		dir, _ := tree.Split(name)
		h.Index.Mounted(info.Device, f.Volume(), info.Mount != h.Root.Mount, dir)
	}
}

// MeetUnknown is [Hasher.Meet] for a file on a device that the index does not know, for example after the start.
func (h *Hasher) MeetUnknown(name string, info vfs.Info) {
	if info.Kind != vfs.Regular || info.Device == h.Root.Device || h.Index.Knows(info.Device) {
		return
	}
	if f, now, err := h.FS.Open(name); err == nil && f != nil {
		h.Meet(f, name, now)
		f.Close()
	}
}

// Hash returns the tag of the file with this name, and the look at the version that has this tag.
func (h *Hasher) Hash(ctx context.Context, name string, how How) (info vfs.Info, tag tree.ETag, err error) {
	for range how.Rounds {
		if info, tag, err = h.hashOpened(ctx, name, how); !errors.Is(err, volumes.ErrMoved) {
			break
		}
	}
	return info, tag, err
}

// hashOpened is hash for the file that has the name now. ErrMoved says that it is unknown whether the hashed file still
// had the name at that time.
func (h *Hasher) hashOpened(ctx context.Context, name string, how How) (vfs.Info, tree.ETag, error) {
	f, info, err := h.Open(ctx, name)
	if err != nil {
		return vfs.Info{}, "", failure.Of(err)
	}
	if f == nil {
		return info, "", nil
	}
	defer f.Close()
	how.closes = true
	return h.HashFile(ctx, f, info, how)
}

// How says for which purpose a file is hashed: how often a file that changes meanwhile is hashed again, and whether
// the hash may wait.
type How struct {
	Rounds     int
	background bool // it gives way to the hashes that a request waits for
	Alone      bool // it fails with ErrWriter, and reads nothing, if a program has the file open for writing
	orKnown    bool // a hash that the index has by now will do
	closes     bool // the caller closes the file next, which ends the lease on it too
	Capture    []*Capture
}

// A capture is the content of a file at one offset, taken while the file was hashed.
type Capture struct {
	Offset int64
	Data   []byte // its length is the number of bytes to capture
}

// An answer can do without the tag. A condition cannot.
var (
	ForAnswer = How{Rounds: 2}
	ForCheck  = How{Rounds: 4}
	Alone     = How{Rounds: 4, Alone: true}
	Ahead     = How{Rounds: 1, background: true}
)

// smallRounds is how many times as often a file of smallSize is hashed again. That takes little time. Where no lease
// tells a rename from a change, the commits of other clients count as changes too.
const (
	smallRounds = 4
	smallSize   = 64 << 10
)

// HashFile returns the tag of an open file, and the look at the file to which the tag belongs: info, or a later look.
// ErrBusy, with the last look, says that the file changed during each hash.
func (h *Hasher) HashFile(ctx context.Context, f *vfs.File, info vfs.Info, how How) (vfs.Info, tree.ETag, error) {
	how.orKnown = true
	rounds := how.Rounds
	if info.Size <= smallSize && !how.background {
		rounds *= smallRounds
	}
	for round := range rounds {
		// Before the first hash, the index is asked when no other hash of the file is under way (together).
		if round > 0 {
			if tag, ok := h.Index.Tag(info.Fingerprint); ok {
				return info, tag, nil
			}
		}
		again, sum, err := h.HashOnce(ctx, f, info, how)
		switch {
		case err == nil:
			return again, tree.TagOf(sum), nil
		case !errors.Is(err, ErrChanged):
			return again, "", failure.Of(err)
		}
		info = again
	}
	return info, "", tree.ErrBusy
}

var (
	// ErrChanged says that a program wrote to a file while the file was hashed.
	ErrChanged = errors.New("the file has changed meanwhile")
	// ErrNotNow says that a file was not hashed ahead of need, because its tag could not be remembered.
	ErrNotNow = errors.New("the file is being written, or was a moment ago")
)

// HashOnce hashes an open file and looks at it, or waits for a hash that another caller computes. With ErrChanged it
// returns only the look.
//
// A hash under a lease that is held from the look until the end is of the version that the look has found, and is
// remembered. A commit may rename the file meanwhile, which changes only the time of change: the hash is of the last
// look then. If a program has the file open for writing, two looks that agree say that the bytes were there, and no
// more. Without leases, two looks that agree are believed if the file was left unchanged for a while.
func (h *Hasher) HashOnce(
	ctx context.Context, f *vfs.File, info vfs.Info, how How,
) (vfs.Info, [sha256.Size]byte, error) {
	ctx, cancel := tree.HashContext(ctx)
	defer cancel()
	found := h.together(ctx, f, info, how)
	again := found.info
	again.Name = info.Name
	again = again.FoundAs(info)
	if found.err == nil && how.Alone && found.writer {
		return again, found.sum, failure.ErrWriter
	}
	return again, found.sum, found.err
}

// fly hashes an open file for all callers that wait for the flight.
func (h *Hasher) fly(ctx context.Context, f *vfs.File, info vfs.Info, how How, one *flight) {
	if !how.background {
		end, err := h.Turn(ctx, info.Size, leadPatience)
		if err != nil {
			one.info, one.err = info, err
			return
		}
		defer end()
	}
	// Take the lease only when the turn has come. A program that wants to write waits for the end of the lease, and
	// would wait for the turn, too.
	lease, writer, remember := h.lease(f, info)
	defer func() {
		if lease != nil && (!how.closes || one.err != nil) { // else the caller closes the file next
			lease.Unlease()
		}
	}()
	mark := h.Index.Mark(info.Fingerprint, how.orKnown && how.Capture == nil) // see knownBy
	one.info, one.writer = info, writer
	changed := lease != nil || one.late // the file may have changed since the look before
	if one.err = h.mayFly(ctx, f, how, one, changed, remember); one.err != nil {
		return
	}
	if !how.background {
		defer h.Ask()()
	}
	held := func() bool { return lease == nil || lease.Leased() }
	hold := func() bool {
		// Requests that read little need not wait until the scheduler takes the processor away from this goroutine.
		runtime.Gosched()
		h.giveWay(ctx, one, held)
		return one.info.Size <= smallSize || held() // a small file is one chunk, and is asked about after that
	}
	begun := time.Now()
	var err error
	one.sum, err = h.sum(ctx, f, one.info.Size, hold, one.capture)
	if err != nil && !errors.Is(err, ErrChanged) {
		one.err = err
		return
	}
	again, failed := h.Refresh(f, info)
	if failed != nil {
		one.err = failed
		return
	}
	same := again.Fingerprint == one.info.Fingerprint
	if lease != nil && h.provesContent(again) && h.FS.AbilitiesOf(again).LeasesSeeMaps {
		same = again.SameFile(one.info) && again.Size == one.info.Size // nothing can have written to it
	}
	if err != nil || !held() || !same {
		one.info, one.err = again, ErrChanged
		return
	}
	h.hashedIn(one.info.Size, time.Since(begun))
	one.first, one.info = one.info.Fingerprint, again
	if remember {
		one.remembered = true
		h.Index.Learn(again.Fingerprint, index.RecordOf(tree.TagOf(one.sum)), mark)
	}
}

// mayFly returns nil if a flight may begin to read, and brings its look up to date if the file may have changed.
func (h *Hasher) mayFly(ctx context.Context, f *vfs.File, how How, one *flight, changed, remember bool) error {
	switch {
	case one.writer && how.Alone:
		return failure.ErrWriter
	case how.background && !remember:
		return ErrNotNow
	case changed:
		var err error
		if one.info, err = h.Refresh(f, one.info); err != nil {
			return err
		}
	}
	if !remember && h.takesTooLong(ctx, one.info.Size) {
		return context.DeadlineExceeded
	}
	return nil
}

// hashedUnasked is how many bytes are hashed without waiting for a turn. They take about a millisecond.
const hashedUnasked = 1 << 20

// Patience is how long a condition waits for its turn to hash a file. A caller that can do without the tag waits as
// long as its context allows.
const Patience = 30 * time.Second

// leadPatience is how long the caller that hashes for all callers waits for its turn. Then another caller, which may
// have a turn, begins the hash.
const leadPatience = time.Second

// Turn waits until the client may have a file of this size hashed, beside other hashes.
func (h *Hasher) Turn(ctx context.Context, size int64, patience time.Duration) (end func(), err error) {
	if size <= hashedUnasked {
		return func() {}, nil
	}
	slot, err := h.Turns.Acquire(ctx, tree.ClientOf(ctx), patience, nil)
	if err != nil {
		return nil, err
	}
	return slot.Release, nil
}

// provesContent reports whether a lease on a file proves that its content is the same, and the next look at the file
// shows each later change. If the clock is coarse, a change can have the time stamp of the change before it. On an
// overlay, the lease can be on the file in the lower layer, to which no program writes.
func (h *Hasher) provesContent(info vfs.Info) bool {
	able := h.FS.AbilitiesOf(info)
	return able.Leases && able.FineTimes
}

// lease takes a lease on a file, if one can be had, and returns the file then. It reports whether a writer prevents the lease, and whether a hash
// that is made now may be remembered.
func (h *Hasher) lease(f *vfs.File, info vfs.Info) (lease *vfs.File, writer, remember bool) {
	able := h.FS.AbilitiesOf(info)
	// A volume that is read-only, or that is mounted below the root and was not written to, was not tried for leases.
	if !able.Exclusive && (able.Leases || f.Volume().Leases) {
		err := f.Lease()
		if err == nil {
			return f, false, h.provesContent(info) || h.UntilSettled(info) <= 0
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return nil, true, false
		}
	}
	return nil, false, h.UntilSettled(info) <= 0
}

// isWritten reports whether a program has a file open for writing.
func (h *Hasher) isWritten(f *vfs.File, info vfs.Info) bool {
	lease, writer, _ := h.lease(f, info)
	if lease != nil {
		lease.Unlease()
	}
	return writer
}

// Refresh looks at an open file again.
func (h *Hasher) Refresh(f *vfs.File, info vfs.Info) (vfs.Info, error) {
	again, err := f.Stat()
	again.Name = info.Name
	again = again.FoundAs(info)
	return again, err
}

// sum hashes the first size bytes of an open file. It calls hold before each chunk, and fails with ErrChanged if hold
// returns false.
func (h *Hasher) sum(
	ctx context.Context, f *vfs.File, size int64, hold func() bool, wanted []*Capture,
) (sum [sha256.Size]byte, err error) {
	sum256 := sha256.New()
	to := io.Writer(sum256)
	if len(wanted) > 0 {
		slices.SortFunc(wanted, func(a, b *Capture) int { return cmp.Compare(a.Offset, b.Offset) })
		to = &capturer{Writer: sum256, wanted: wanted}
	}
	_, err = CopyBody(ctx, to, io.NewSectionReader(heldReader{f, hold}, 0, size))
	sum256.Sum(sum[:0])
	return sum, err
}

// A capturer writes to a hash, and keeps the wanted parts of the content.
type capturer struct {
	io.Writer
	wanted []*Capture // sorted by offset
	at     int64
}

func (c *capturer) Write(p []byte) (int, error) {
	end := c.at + int64(len(p))
	for _, one := range c.wanted {
		if one.Offset >= end {
			break
		}
		if from := max(one.Offset, c.at); from < one.Offset+int64(len(one.Data)) {
			copy(one.Data[from-one.Offset:], p[from-c.at:])
		}
	}
	for len(c.wanted) > 0 && c.wanted[0].Offset+int64(len(c.wanted[0].Data)) <= end {
		c.wanted = c.wanted[1:]
	}
	c.at = end
	return c.Writer.Write(p)
}

// hashedIn notes how long it took to hash size bytes.
func (h *Hasher) hashedIn(size int64, took time.Duration) {
	if size < paceSize || took <= 0 {
		return
	}
	pace := int64(float64(size) / took.Seconds())
	for known := h.pace.Load(); pace > known && !h.pace.CompareAndSwap(known, pace); known = h.pace.Load() {
	}
}

// paceSize is how many bytes a hash must have, at least, to show how fast this machine hashes.
const paceSize = 16 << 20

// takesTooLong reports whether size bytes cannot be hashed before the deadline, even at the highest pace so far. If the
// tag could not be remembered either, such a hash is not worth beginning.
func (h *Hasher) takesTooLong(ctx context.Context, size int64) bool {
	end, bounded := ctx.Deadline()
	pace := h.pace.Load()
	return bounded && pace > 0 && float64(size)/float64(pace) > time.Until(end).Seconds()
}
