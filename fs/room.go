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

var (
	// errPromised says that no room can be kept for something.
	errPromised = fmt.Errorf("nothing was written (%w)", syscall.ENOSPC)
	// ErrRoomKept is an errPromised: the disk has the room, and uploads that are on the way have announced that they need it.
	ErrRoomKept = fmt.Errorf("kept for these uploads: %w", errPromised)
)

// IsFull reports whether an error says that the disk, or the quota of the server's user, has no room; then
// [FS.MakeRoom] may help.
func IsFull(err error) bool {
	return (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && !errors.Is(err, errAttribute)
}

// IsAttributeFull reports whether an error says that a value of [Place.SetAttributes] has no room with the file.
func IsAttributeFull(err error) bool { return errors.Is(err, errAttribute) }

// Space tells how much room there is where a name is: what is promised is not free, and the history that gives way is.
// errors.ErrUnsupported where nobody says.
func (s *FS) Space(name string) (Space, error) {
	dir, info, err := s.resolve(name, nil)
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
	// Client is the client for which it is staged. "" stands for many that cannot be told apart. See promises.
	Client string
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
	rest   int64 // of what is not staged: no room is kept for it before it comes
	held   int64 // what this is in promises.bytes,
	claim  int64 // and in promises.claims, and
	tail   int64 // what it may get of the last hour, at most
	pace   pace

	vain, tidied int
	free         int64 // when it was found to be full before
}

// promises are all the rooms on one disk. The room that is kept for the uploads of one client is no more than they leave for
// others when it is promised, as in a pool of package limit: what is announced costs a client nothing. For the rest of a
// larger upload room is kept as it comes.
//
// What is promised stays promised as long as the upload moves; see pace.
type promises struct {
	mu      sync.Mutex
	bytes   int64 // for which room is kept
	claims  int64 // that are announced: these, and the rests of what did not give way
	clients map[string]*promised
	rooms   map[*room]bool // of which not all is staged
	last    *room          // the one to which the last hour gives way
}

// promised is what of promises is for one client, whose rooms are counted.
type promised struct {
	bytes, claims int64
	rooms         int
}

func (v *volume) promises() *promises {
	all, _ := v.promised.LoadOrStore(v.device.device, &promises{rooms: map[*room]bool{}, clients: map[string]*promised{}})
	return all.(*promises)
}

func (v *volume) newRoom(ctx context.Context, need Need) (*room, error) {
	r := &room{volume: v, ctx: ctx, need: need}
	r.pace.begin(v.opts.Now()) // until it is waited for
	if r.known = need.isKnown(); !r.known {
		return r, nil
	}
	return r, r.promise(need.Length, 0)
}

// hold notes what is promised and not staged yet; promises.mu must be held.
func (r *room) hold(all *promises) {
	unsent := max(r.length-r.staged, 0)
	r.rest = min(r.rest, unsent)
	held := inRoom(unsent - r.rest)
	claim := held
	if !r.pace.gaveWay {
		claim = inRoom(unsent)
	}
	client := all.clients[r.need.Client]
	if client == nil {
		client = &promised{}
		all.clients[r.need.Client] = client
	}
	all.bytes += held - r.held
	all.claims += claim - r.claim
	client.bytes += held - r.held
	client.claims += claim - r.claim
	r.held, r.claim, r.tail = held, claim, 0
	if r.known {
		r.tail = r.tailOf(r.length)
	}
	switch {
	case unsent > 0 && !all.rooms[r]:
		all.rooms[r] = true
		client.rooms++
	case unsent == 0 && all.rooms[r]:
		delete(all.rooms, r)
		client.rooms--
	}
	if client.rooms == 0 {
		delete(all.clients, r.need.Client)
	}
}

// inRoom returns the room that is kept for so many bytes: what the disk needs besides, to find the content again, is a part
// of it.
func inRoom(bytes int64) int64 {
	if bytes <= 0 {
		return 0
	}
	return inBlocks(bytes) + bytes/256 + 2*block
}

// fromRoom returns how many bytes have so much room, at least.
func fromRoom(room int64) int64 { return max(room-3*block, 0) / 257 * 256 }

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

// promise keeps room for more bytes, if there is that much beside all that is promised, or what is known can be had from the
// history. So many of them are at hand.
func (r *room) promise(more, atHand int64) error {
	if more <= 0 {
		return nil
	}
	if r.need.Arrived || r.need.Measure != nil {
		atHand = more
	}
	err := r.take(more, atHand, 0)
	for err != nil && r.tidy() {
		err = r.take(more, atHand, 0)
	}
	if err == nil || !r.known {
		return err
	}
	g, failed := r.volume.findDroppable(r)
	if failed != nil {
		r.volume.report(failed)
		return err
	}
	if err = r.take(more, atHand, g.older); err == nil || r.fits(more, atHand, g.older+g.lastBytes) != nil {
		return err
	}
	// What others take of the last hour later leaves so much for this one now.
	if last := r.ofLast(g, max(r.tailOf(r.length+more), r.volume.promises().longestTail())); last > 0 {
		err = r.take(more, atHand, g.older+last)
	}
	return err
}

// take keeps room for more bytes if so many of the history are counted as free.
func (r *room) take(more, atHand, history int64) error {
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	free, known := r.volume.free()
	if !known {
		r.length += more
		return nil
	}
	kept, err := all.admit(r, more, atHand, free, history)
	if err != nil {
		return err
	}
	r.length += more
	r.rest += more - kept
	r.hold(all)
	return nil
}

// fits is take that takes nothing.
func (r *room) fits(more, atHand, history int64) error {
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	free, _ := r.volume.free()
	_, err := all.admit(r, more, atHand, free, history)
	return err
}

// admit reports whether more bytes may be promised, and for how many of them room is kept. Slow uploads give way where that
// may help. mu must be held.
func (all *promises) admit(r *room, more, atHand, free, history int64) (kept int64, err error) {
	if more > tooMuch || inBlocks(more) > free+history {
		return 0, all.refusal(r, more, free, history)
	}
	kept, ok := all.share(r, more, atHand, free+history)
	if !ok && all.giveWay(r) {
		kept, ok = all.share(r, more, atHand, free+history)
	}
	if !ok {
		return 0, all.refusal(r, more, free, history)
	}
	return kept, nil
}

// share is admit for so much room, before anything gives way. mu must be held.
func (all *promises) share(r *room, more, atHand, room int64) (kept int64, ok bool) {
	size, left := inBlocks(more), room-all.bytes
	if r.need.Client == "" || atHand == more {
		return more, size <= left
	}
	var own promised
	if client := all.clients[r.need.Client]; client != nil {
		own = *client
	}
	kept = max(min(more, fromRoom((left-own.bytes)/2)), atHand)
	switch {
	case size <= room-all.claims: // all that is accepted fits
		return kept, true
	case kept == more: // in place of the rests of others
		return kept, size <= left && size <= left+own.bytes-own.claims
	}
	return 0, false
}

// giveWay has the slow uploads beside r give back the room that is kept for what they do not send in paceTime. It reports
// whether any did. mu must be held.
func (all *promises) giveWay(r *room) (gave bool) {
	now := r.volume.opts.Now()
	for other := range all.rooms {
		if other != r && other.isSlow(now) {
			before := other.claim
			other.rest = max(other.rest, other.length-other.staged-other.pace.sends(now, other.staged))
			other.pace.gaveWay = true
			other.hold(all)
			gave = gave || other.claim < before
		}
	}
	return gave
}

// refusal is the error for more bytes that do not fit. mu must be held.
func (all *promises) refusal(r *room, more, free, history int64) error {
	err := errPromised
	if more <= tooMuch && inBlocks(more) <= free+history {
		err = ErrRoomKept
	}
	err = fmt.Errorf("%d bytes are wanted, %d are free, of which uploads on the way have announced %d, and %d more can be had "+
		"from the history: %w", more, free, all.claims-r.claim, history, err)
	return &iofs.PathError{Op: "reserve", Path: r.volume.statePath(stagePart), Err: err}
}

// cover is called before n bytes are written. It keeps room for these, and more of the rest.
func (r *room) cover(n int64) error {
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	if r.rest == 0 {
		return nil
	}
	free, known := r.volume.free()
	if !known {
		r.rest = 0
		r.hold(all)
		return nil
	}
	unsent := r.length - r.staged
	kept := unsent - r.rest
	size := inBlocks(r.staged+n) - inBlocks(r.staged)
	left := func() int64 { return free - (all.bytes - r.held) }
	if kept < n && size > left() && !(all.giveWay(r) && size <= left()) {
		return all.refusal(r, n, free, 0)
	}
	share := left()
	if client := all.clients[r.need.Client]; client != nil && r.need.Client != "" {
		share = (share - (client.bytes - r.held)) / 2
	}
	r.rest = unsent - min(max(kept, n, fromRoom(share)), unsent)
	r.hold(all)
	return nil
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
	r.works()
	for r.staged+int64(n) > r.length {
		err := error(nil)
		if r.staged+int64(n) > unmeasured && r.mayMeasure() {
			err = r.measure()
		} else {
			r.known = false // more than was said is as what nobody has said
			err = r.promise(max(grant, int64(n)), int64(n))
		}
		if IsFull(err) && r.mayMeasure() {
			err = r.measure()
		} else if IsFull(err) && !r.known {
			if err = r.promise(int64(n), int64(n)); IsFull(err) {
				err = r.freeSpace(err, false)
			}
		}
		if err != nil {
			return err
		}
	}
	for err := r.cover(int64(n)); err != nil; err = r.cover(int64(n)) {
		if err := r.freeSpace(err, false); err != nil {
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
	return r.promise(length-r.length, 0)
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
	r.pace.gaveWay = false
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
