package hashing

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/limit"
)

// flights are the hashes that are being computed. Each file is hashed once at a time, however many callers ask.
//
// If a caller comes during a hash, this hash is for the caller only if it is remembered. A lease says then that the
// file has not changed since the look to which the hash belongs, which is the same as the look of the caller. Otherwise
// the caller waits for the next hash, which is for all callers that have come before it begins.
type flights struct {
	mu      sync.Mutex
	running map[FileKey]*flight // the one that is being computed
	next    map[FileKey]*flight // the one after that, if a caller waits for it
}

// A FileKey identifies a file, independently of its content.
type FileKey struct {
	Mount, Device, Inode uint64
	Born                 int64
}

func KeyOf(i vfs.Info) FileKey { return FileKey{i.Mount, i.Device, i.Inode, i.Born} }

type flight struct {
	wanted  atomic.Bool   // a caller that is not in the background waits for it
	waiting int           // how many callers wait for it to begin
	late    bool          // some callers have come after the look of the caller that begins it
	begun   chan struct{} // closed when it begins, if a caller gives way to that
	capture []*Capture    // the parts of the content that the callers want, too
	done    chan struct{} // closed when the fields below are set

	first      vfs.Fingerprint // of the look from which on a lease was held, if the sum is remembered
	info       vfs.Info        // the look to which the sum belongs, or a later look with ErrChanged
	sum        [sha256.Size]byte
	err        error
	remembered bool
	writer     bool // a program had the file open for writing
}

// together returns a hash of an open file. Either this caller or another one begins the hash now, or the hash was begun
// before and is as good.
func (h *Hasher) together(ctx context.Context, f *vfs.File, info vfs.Info, how How) *flight {
	if info.Inode == 0 { // no inode number tells files apart
		apart := &flight{capture: how.Capture} // no other caller waits for it
		apart.wanted.Store(!how.background)
		h.fly(ctx, f, info, how, apart)
		return apart
	}
	key := KeyOf(info)
	last, hadNoTurn := time.Now().Add(Patience), false
	lead := func(ours *flight) (again bool) {
		defer h.flights.end(key, ours)
		h.fly(ctx, f, info, how, ours)
		hadNoTurn = errors.As(ours.err, new(*limit.Error)) && time.Now().Before(last)
		return hadNoTurn
	}
	for {
		if hadNoTurn { // the callers that wait for the next hash begin it first: they may have a turn
			h.flights.letOthersBegin(ctx, key)
		}
		before, ours, begin := h.flights.join(key, how)
		if begin {
			// The hash before this one can have ended since the caller has asked the index.
			if known := h.knownBy(info, how); known != nil && h.flights.cancel(key, ours) {
				return known
			}
			if !lead(ours) {
				return ours
			}
			continue
		}
		if how.Alone && h.isWritten(f, info) {
			h.flights.leave(key, ours)
			return &flight{info: info, err: failure.ErrWriter}
		}
		if found := h.await(ctx, before, info, how); found != nil {
			h.flights.leave(key, ours)
			return found
		}
		if h.flights.begin(key, ours) {
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

// await waits until the hash before the next one has ended, since the next one does not begin until then. It returns
// the hash that makes the next one needless for this caller, or nil.
func (h *Hasher) await(ctx context.Context, before *flight, info vfs.Info, how How) *flight {
	select {
	case <-before.done:
		if before.isOf(info) && how.Capture == nil {
			return before
		}
		return h.knownBy(info, how)
	case <-ctx.Done():
		return &flight{info: info, err: ctx.Err()}
	}
}

// knownBy returns the hash of the version that a look has found as a flight, if the index has it by now and the caller
// may do with that. Otherwise it returns nil.
func (h *Hasher) knownBy(look vfs.Info, how How) *flight {
	if !how.orKnown || how.Capture != nil {
		return nil
	}
	r, ok := h.Index.Lookup(look.Fingerprint)
	if !ok {
		return nil
	}
	return &flight{info: look, first: look.Fingerprint, sum: r.SHA256, remembered: true}
}

// isOf reports whether a flight that has ended has hashed the version that a look has found.
func (one *flight) isOf(look vfs.Info) bool {
	return one.remembered && (look.Fingerprint == one.first || look.Fingerprint == one.info.Fingerprint)
}

// gaveUp reports whether a flight has failed for a reason that does not concern a caller that waits for it.
func (one *flight) gaveUp(how How) bool {
	return isGivenUp(one.err) || errors.As(one.err, new(*limit.Error)) ||
		!how.background && errors.Is(one.err, ErrNotNow) || !how.Alone && errors.Is(one.err, failure.ErrWriter)
}

// join returns the flight of a file in which the caller takes part. Either the caller begins it now, or it comes next
// after the flight that is running.
func (f *flights) join(key FileKey, how How) (before, ours *flight, begin bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == nil {
		f.running, f.next = map[FileKey]*flight{}, map[FileKey]*flight{}
	}
	before, ours = f.running[key], f.next[key]
	if ours == nil {
		ours = &flight{done: make(chan struct{})}
		if before != nil {
			f.next[key] = ours
		}
	}
	ours.capture = append(ours.capture, how.Capture...)
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
	ours.hasBegun()
	return nil, ours, true
}

// letOthersBegin waits until another caller has begun the next hash of a file, if any waits for it, for leadPatience at
// most: that caller can have ended too.
func (f *flights) letOthersBegin(ctx context.Context, key FileKey) {
	f.mu.Lock()
	next := f.next[key]
	if next == nil || next.waiting == 0 {
		f.mu.Unlock()
		return
	}
	if next.begun == nil {
		next.begun = make(chan struct{})
	}
	begun := next.begun
	f.mu.Unlock()
	select {
	case <-begun:
	case <-ctx.Done():
	case <-time.After(leadPatience):
	}
}

// begin reports whether the caller is to begin a flight: the flight before it has ended, and no other caller has begun
// this one.
func (f *flights) begin(key FileKey, ours *flight) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next[key] != ours || f.running[key] != nil {
		return false
	}
	delete(f.next, key)
	f.running[key], ours.late = ours, true
	ours.hasBegun()
	return true
}

func (one *flight) hasBegun() {
	if one.begun != nil {
		close(one.begun)
	}
}

// leave ends the wait for a flight. A flight for which no caller waits is forgotten.
func (f *flights) leave(key FileKey, ours *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ours.waiting--; ours.waiting == 0 && f.next[key] == ours {
		delete(f.next, key)
	}
}

// cancel ends a flight that has hashed nothing, unless another caller waits for its result. It reports whether it did.
func (f *flights) cancel(key FileKey, one *flight) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one.waiting > 0 {
		return false
	}
	delete(f.running, key)
	close(one.done)
	return true
}

func (f *flights) end(key FileKey, one *flight) {
	f.mu.Lock()
	delete(f.running, key)
	f.mu.Unlock()
	close(one.done)
}

// giveWay holds up a hash for which no request waits, as long as there are hashes for which requests wait.
func (h *Hasher) giveWay(ctx context.Context, one *flight, hold func() bool) {
	for !one.wanted.Load() && h.asked.Load() > 0 && hold() {
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
