package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"sync"
	"syscall"
	"time"

	"ifmatch/fs/vfs"
)

// errAttribute says that there is no room beside a file, which has little to do with that on the disk.
var errAttribute = vfs.ErrAttribute

// errPromised says that no room can be kept for something.
var errPromised = fmt.Errorf("nothing was written (%w)", syscall.ENOSPC)

// IsFull reports whether an error says that the disk, or the quota of the server's user, has no room; then
// [FS.MakeRoom] may help.
func IsFull(err error) bool {
	return (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && !errors.Is(err, errAttribute)
}

// IsAttributeFull reports whether an error says that the value given to [FS.SetAttributes] has no room with the file.
func IsAttributeFull(err error) bool { return errors.Is(err, errAttribute) }

// Space tells how much room there is where a name is: what is promised is not free, and the history that gives way is.
// errors.ErrUnsupported where nobody says.
func (s *FS) Space(name string) (Space, error) {
	dir, info, err := s.resolve(name)
	if err == nil && info.Kind != Directory {
		dir = path.Dir(dir)
		info, err = s.calls.Lstat(dir)
	}
	if err != nil {
		return Space{}, err
	}
	space, err := s.calls.Space(dir)
	if err != nil {
		return Space{}, err
	}
	for _, v := range s.volumes() {
		if v.device == deviceOf(info) {
			promises := v.promises()
			promises.mu.Lock()
			space.Free += v.olderSize() - promises.bytes
			promises.mu.Unlock()
		}
	}
	return space, nil
}

// A Need is what is known of what is going to be staged, since the disk may have no room for it.
//
// What was removed and is not kept is deleted first, at any time. Then the history gives way, the oldest first, and
// directory by directory; what will not fit even so is refused before any goes. The last hour gives way only to what is
// nearly staged, to one such at a time, version by version, and never the newest of a name, unless that is the name
// that is written; nor at all where nobody knows how much there will be.
type Need struct {
	Name string
	// Length is that of the content, in bytes; -1: not known. Room is kept for it until it is committed or discarded.
	Length int64
	// Measure, if not nil, is asked for the Length once more than unmeasured is written, or the disk has no room for
	// it. A copy may share its content, and to measure a tree takes a look at all of it.
	Measure func() (int64, error)
	// Arrived: all of it is at hand, and has only to be written.
	Arrived bool
	// Ask, if not nil, is asked before the history gives way, under no lock: what has been accepted a while ago may be
	// refused now. Its error is what the caller gets.
	Ask  func() error
	Keep Kept // stays in the history, whatever happens
}

const (
	// lastHour is for how long what was replaced or removed stays, but for some versions; see findDroppable.
	lastHour = time.Hour
	// nearly: of 10 bytes that many are staged when versions of the last hour give way.
	nearly = 9
	// grant is how much room is kept at a time for who does not say how much there will be, in bytes.
	grant = 1 << 20
	// unmeasured is how much is written before it is asked how much there will be, in bytes.
	unmeasured = 16 << 20
	// maxVain bounds how often the history gives way to one call, and the disk is full as it was.
	maxVain = 3
	// maxTidied bounds how often what is nobody's is deleted for one call, or waited for that another one does.
	maxTidied = 30
	// scarce is what is left on a disk that has no room for bytes. Where there is more, it has no room for another
	// file.
	scarce = 16 * block
	// tooMuch is more than any disk has, in bytes: what is less can be added up.
	tooMuch = 1 << 60
	// maxLast bounds the versions of the last hour that are looked at, the oldest first.
	maxLast = 20_000
)

// A room is the space on a disk that is promised to one upload or copy. The methods of nil promise nothing, and free
// nothing.
type room struct {
	volume *volume
	ctx    context.Context
	need   Need

	known  bool  // there will be no more than length
	asked  bool  // need.Measure has been
	length int64 // that was promised
	staged int64 // of that
	held   int64 // what this is in promises.bytes, and
	tail   int64 // what it may get of the last hour, at most

	vain, tidied int
	free         int64 // when it was found to be full before
}

// promises are all rooms on one disk.
type promises struct {
	mu    sync.Mutex
	bytes int64
	rooms map[*room]bool // that hold some of it
	last  *room          // the one to which the last hour gives way
}

func (v *volume) promises() *promises {
	all, _ := v.promised.LoadOrStore(v.device.device, &promises{rooms: map[*room]bool{}})
	return all.(*promises)
}

func (v *volume) newRoom(ctx context.Context, need Need) (*room, error) {
	r := &room{volume: v, ctx: ctx, need: need}
	if r.known = need.isKnown(); !r.known {
		return r, nil
	}
	return r, r.promise(need.Length)
}

// hold notes what is promised and not staged yet; promises.mu must be held. What the disk needs besides, to find the
// content again, is a part of that.
func (r *room) hold(all *promises) {
	held := max(r.length-r.staged, 0)
	if held > 0 {
		held = inBlocks(held) + held/256 + 2*block
	}
	all.bytes += held - r.held
	r.held, r.tail = held, 0
	if r.known {
		r.tail = r.tailOf(r.length)
	}
	if held > 0 {
		all.rooms[r] = true
	} else {
		delete(all.rooms, r)
	}
}

// tailOf returns how much of a length is left when it is nearly staged.
func (r *room) tailOf(length int64) int64 {
	if r.need.Arrived {
		return inBlocks(length)
	}
	return length - length/10*nearly
}

// longestTail returns the most that one of those that are under way may get of the last hour.
func (all *promises) longestTail() (bytes int64) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for r := range all.rooms {
		bytes = max(bytes, r.tail)
	}
	return bytes
}

// promise keeps space for more bytes, if there is that much beside all that is promised already, or if the length is
// known and the rest can be had from the history.
func (r *room) promise(more int64) error {
	if more <= 0 {
		return nil
	}
	err := r.take(more, 0)
	for err != nil && r.tidy() {
		err = r.take(more, 0)
	}
	if err == nil || !r.known {
		return err
	}
	g, failed := r.volume.findDroppable(r)
	if failed != nil {
		r.volume.report(failed)
		return err
	}
	if err = r.take(more, g.older); err == nil || r.fits(more, g.older+g.lastBytes) != nil {
		return err
	}
	// What others take of the last hour later leaves so much for this one now.
	if last := r.ofLast(g, max(r.tailOf(r.length+more), r.volume.promises().longestTail())); last > 0 {
		err = r.take(more, g.older+last)
	}
	return err
}

// take keeps space for more bytes, if there is enough with so many bytes of the history counted as free.
func (r *room) take(more, history int64) error {
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	free, known := r.volume.free()
	if !known {
		r.length += more
		return nil
	}
	if err := all.allow(r.volume, more, free, history); err != nil {
		return err
	}
	r.length += more
	r.hold(all)
	return nil
}

// fits is take without keeping anything.
func (r *room) fits(more, history int64) error {
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	free, _ := r.volume.free()
	return all.allow(r.volume, more, free, history)
}

func (all *promises) allow(v *volume, more, free, history int64) error {
	if more <= tooMuch && inBlocks(more) <= free+history-all.bytes {
		return nil
	}
	err := fmt.Errorf("%d bytes are wanted, %d are free, of which %d are promised to others, and %d more can be had "+
		"from the history: %w", more, free, all.bytes, history, errPromised)
	return &iofs.PathError{Op: "reserve", Path: v.statePath(stagePart), Err: err}
}

func (n Need) isKnown() bool { return n.Length >= 0 && n.Measure == nil }

// tidy deletes the trash, and what the history is not to keep in any case. It reports whether to try again.
func (r *room) tidy() bool {
	if r.tidied >= maxTidied || r.ctx.Err() != nil {
		return false
	}
	r.tidied++
	return r.volume.tidy(r.ctx) || r.volume.expireNow(r.ctx) && r.volume.tidy(r.ctx)
}

// free returns the free bytes of the volume's file system, if they are known.
func (v *volume) free() (bytes int64, known bool) {
	space, err := v.calls.Space(v.top)
	return space.Free, err == nil && space.Size > 0
}

// reserve is called before n bytes are written.
func (r *room) reserve(n int) error {
	if r == nil {
		return nil
	}
	for r.staged+int64(n) > r.length {
		err := error(nil)
		if r.staged+int64(n) > unmeasured && r.mayMeasure() {
			err = r.measure()
		} else {
			r.known = false // more than was said is as what nobody has said
			err = r.promise(max(grant, int64(n)))
		}
		if IsFull(err) && r.mayMeasure() {
			err = r.measure()
		} else if IsFull(err) && !r.known {
			if err = r.promise(int64(n)); IsFull(err) {
				err = r.freeSpace(err, false)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *room) mayMeasure() bool { return r.need.Measure != nil && !r.asked }

// measure asks for the length, and keeps space for all of it.
func (r *room) measure() error {
	r.asked = true
	length, err := r.need.Measure()
	if err != nil || length <= r.length {
		return err
	}
	r.known = true
	return r.promise(length - r.length)
}

// wrote is called when n bytes have been written.
func (r *room) wrote(n int) {
	if r == nil || n == 0 {
		return
	}
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	r.staged += int64(n)
	r.vain, r.tidied = 0, 0
	r.hold(all)
}

// release gives back the space that is promised to the room.
func (r *room) release() {
	if r == nil {
		return
	}
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	r.length = 0
	r.hold(all)
	if all.last == r {
		all.last = nil
	}
}

// retry runs step again as long as the disk is full and space can be freed. It must not be called under [FS.Lock].
func (r *room) retry(step func() error) error {
	for {
		err := step()
		if !IsFull(err) || r == nil {
			return err
		}
		if err := r.freeSpace(err, true); err != nil {
			return err
		}
	}
}

// retryMakingRoom is room.retry for a step that begins something: the volume that is full is known from the error.
func (s *FS) retryMakingRoom(ctx context.Context, need Need, step func() error) error {
	var r *room
	defer func() { r.release() }()
	for {
		err := step()
		if !IsFull(err) || errors.Is(err, errPromised) {
			return err
		}
		if v := s.volumeOfError(err); r == nil || r.volume != v {
			r.release()
			r = &room{volume: v, ctx: ctx, need: need, known: need.isKnown() || need.Measure != nil}
		}
		if err := r.freeSpace(err, true); err != nil {
			return err
		}
	}
}
