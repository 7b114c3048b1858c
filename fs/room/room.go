// Package room shares out the space on the disks of a tree among the versions that are staged, and makes room where a
// disk is full.
//
// A [Room] is promised to one upload or copy before its content comes, so that it fails at once if there is no space
// for it. If the disk is full all the same, the trash is deleted, and then the history gives way, as [Need] says.
package room

import (
	"context"
	"fmt"
	iofs "io/fs"
	"sync"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

var (
	// errPromised says that no room can be kept for the content of a staged version.
	errPromised = fmt.Errorf("nothing was written (%w)", syscall.ENOSPC)
	// ErrKept is an errPromised. The disk has the room, but uploads that are under way have announced that they
	// need it.
	ErrKept = fmt.Errorf("kept for these uploads: %w", errPromised)
)

// A Need describes a version that is going to be staged, since the disk may have no room for it.
//
// If the disk is full, the server first deletes the removed versions that the history does not keep. It may do so at
// any time. Then the history gives way, directory by directory, the oldest first. If a version will not fit even so,
// the server refuses it before the history loses any version. The versions of the last hour give way only to a version
// that is nearly staged, to one such version at a time, and one by one. The newest version of a name does not give way,
// unless the staged version is for the same name. If the length of the staged version is not known, no version of the
// last hour gives way.
type Need struct {
	Name string
	// Client is the client for which the version is staged. "" stands for many clients that cannot be told apart. See
	// promises.
	Client string
	// Length is the length of the content in bytes, or -1 if it is not known. Room is kept for that many bytes until
	// the version is committed or discarded.
	Length int64
	// Measure, if not nil, returns the Length. It is called at most once, as soon as more than unmeasured bytes are
	// written, or the disk has no room for the content. It is not called earlier, since a copy may share its content
	// with the source, and measuring a tree takes a look at each member.
	Measure func() (int64, error)
	// Arrived says that all of the content is at hand, and only has to be written.
	Arrived bool
	// Ask, if not nil, is called before the history gives way, under no lock. The server may have accepted the request
	// a while ago, and may have to refuse it now. The caller gets the error of Ask.
	Ask  func() error
	Keep history.Kept // this version of the history does not give way
}

const (
	// nearly is how many tenths of a version must be staged before versions of the last hour give way to it.
	nearly = 9
	// grant is how many bytes of room are kept at a time for an upload that does not announce its length.
	grant = 1 << 20
	// unmeasured is how many bytes are written before Measure is called.
	unmeasured = 16 << 20
	// maxVain bounds how often the history gives way for one call while the disk stays as full as it was.
	maxVain = 3
	// maxTidied bounds how often one call deletes the trash, or waits while another caller deletes it.
	maxTidied = 30
	// scarce is a number of free bytes. If a full disk has fewer, it has no room for more content. If it has more, it
	// has no room for another file.
	scarce = 16 * volumes.Block
	// tooMuch is more bytes than any disk has. Numbers below it can be added without an overflow.
	tooMuch = 1 << 60
)

// Rooms are the rooms on all disks of a tree.
type Rooms struct {
	tree     *volumes.Tree
	calls    *vfs.FS
	now      func() time.Time
	report   func(error)
	history  func(*volumes.Volume) *history.History
	promised sync.Map // *promises, by the number of the device
	kept     sync.Map // *Room, by the identifier of an upload, see Keep
}

// New returns the rooms of a tree, of which none is promised yet. now is the clock, and report gets failures that
// belong to no request. history returns the history of a volume, which gives way.
func New(tree *volumes.Tree, calls *vfs.FS, now func() time.Time, report func(error),
	history func(*volumes.Volume) *history.History) *Rooms {
	return &Rooms{tree: tree, calls: calls, now: now, report: report, history: history}
}

// A Room is the space on a disk that is promised to one upload or copy. The methods of a nil room promise nothing, and
// free nothing. The methods that may free space must not be called under the lock of a volume.
type Room struct {
	rooms   *Rooms
	volume  *volumes.Volume
	history *history.History
	ctx     context.Context
	need    Need

	known  bool  // the content has no more than length bytes
	asked  bool  // need.Measure was called
	length int64 // how many bytes were promised
	staged int64 // how many of these are staged
	rest   int64 // how many unstaged bytes have no room yet: they get it as they come
	held   int64 // the part of this room in promises.bytes
	claim  int64 // the part of this room in promises.claims
	tail   int64 // how many bytes of the last hour may give way to it
	pace   pace

	vain, tidied int
	free         int64 // the free bytes when the disk was last found to be full
}

// promises holds all rooms on one disk. When room is promised to an upload of a client, all the room that is kept for
// the client is no more than the room that is left for other clients, as in a pool of package limit. The reason is that
// it costs a client nothing to announce a length. For the rest of a larger upload, room is kept as its bytes come.
//
// A promise lasts as long as the upload moves. See pace.
type promises struct {
	mu      sync.Mutex
	bytes   int64 // the bytes for which room is kept
	claims  int64 // the announced bytes: these, and the rests of the rooms that did not give way
	clients map[string]*promised
	rooms   map[*Room]bool // the rooms whose content is not all staged
	last    *Room          // the room to which the last hour gives way
}

// promised is the part of promises that belongs to one client. It counts the rooms of the client.
type promised struct {
	bytes, claims int64
	rooms         int
}

func (s *Rooms) promises(v *volumes.Volume) *promises {
	all, ok := s.promised.Load(v.Device.Device)
	if !ok {
		none := &promises{rooms: map[*Room]bool{}, clients: map[string]*promised{}}
		all, _ = s.promised.LoadOrStore(v.Device.Device, none)
	}
	return all.(*promises)
}

// lock locks the promises on the disk of the room.
func (r *Room) lock() (all *promises, unlock func()) {
	all = r.rooms.promises(r.volume)
	all.mu.Lock()
	return all, all.mu.Unlock
}

// Promise keeps room for a version on a volume. It fails if there cannot be any.
func (s *Rooms) Promise(ctx context.Context, v *volumes.Volume, need Need) (*Room, error) {
	r := s.Unpromised(ctx, v, need)
	r.pace.begin(s.now()) // the server is busy until it waits for the client
	if r.known = need.isKnown(); !r.known {
		return r, nil
	}
	return r, r.promise(need.Length, 0)
}

// Unpromised returns a room on a volume in which nothing is promised. It is for a step that needs little room, and has
// been decided.
func (s *Rooms) Unpromised(ctx context.Context, v *volumes.Volume, need Need) *Room {
	return &Room{rooms: s, volume: v, history: s.history(v), ctx: ctx, need: need, known: true}
}

// IsOn reports whether the room is on a volume.
func (r *Room) IsOn(v *volumes.Volume) bool { return r != nil && r.volume == v }

// hold notes the bytes that are promised and not staged yet. The caller holds promises.mu.
func (r *Room) hold(all *promises) {
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

// inRoom returns the room that is kept for a number of bytes. It includes the blocks that the disk needs to find the
// content again.
func inRoom(bytes int64) int64 {
	if bytes <= 0 {
		return 0
	}
	return volumes.InBlocks(bytes) + bytes/256 + 2*volumes.Block
}

// fromRoom returns how many bytes fit at least into a given amount of room.
func fromRoom(room int64) int64 { return max(room-3*volumes.Block, 0) / 257 * 256 }

// tailOf returns how many bytes of a length are left when the version is nearly staged.
func (r *Room) tailOf(length int64) int64 {
	if r.need.Arrived {
		return volumes.InBlocks(length)
	}
	return length - length/10*nearly
}

// longestTail returns the most bytes of the last hour that may give way to any one upload that is under way.
func (all *promises) longestTail() (bytes int64) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for r := range all.rooms {
		bytes = max(bytes, r.tail)
	}
	return bytes
}

// promise keeps room for more bytes. The disk must have that much room beside all promises, or, if the length is known,
// the history must be able to give way to them. atHand is how many of these bytes are at hand.
func (r *Room) promise(more, atHand int64) error {
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
	g, failed := r.history.FindDroppable(r.ctx, r.claimed())
	if failed != nil {
		r.rooms.report(failed)
		return err
	}
	if err = r.take(more, atHand, g.Older); err == nil || r.fits(more, atHand, g.Older+g.LastBytes) != nil {
		return err
	}
	// Other uploads may take bytes of the last hour later. These bytes count as room for this upload now.
	if last := g.OfLast(r.ctx, max(r.tailOf(r.length+more), r.rooms.promises(r.volume).longestTail())); last > 0 {
		err = r.take(more, atHand, g.Older+last)
	}
	return err
}

// take keeps room for more bytes. history is the number of bytes of the history that can give way. They count as free.
func (r *Room) take(more, atHand, history int64) error {
	all, unlock := r.lock()
	defer unlock()
	free, known := r.freeBytes()
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

// fits checks whether take can keep room for more bytes, but takes nothing.
func (r *Room) fits(more, atHand, history int64) error {
	all, unlock := r.lock()
	defer unlock()
	free, _ := r.freeBytes()
	_, err := all.admit(r, more, atHand, free, history)
	return err
}

// admit decides whether more bytes may be promised, and for how many of them room is kept. If it may help, slow uploads
// give way. The caller holds mu.
func (all *promises) admit(r *Room, more, atHand, free, history int64) (kept int64, err error) {
	if more > tooMuch || volumes.InBlocks(more) > free+history {
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

// share is [promises.admit] for a given amount of room, before any upload gives way. The caller holds mu.
func (all *promises) share(r *Room, more, atHand, room int64) (kept int64, ok bool) {
	size, left := volumes.InBlocks(more), room-all.bytes
	if r.need.Client == "" || atHand == more {
		return more, size <= left
	}
	var own promised
	if client := all.clients[r.need.Client]; client != nil {
		own = *client
	}
	kept = max(min(more, fromRoom((left-own.bytes)/2)), atHand)
	switch {
	case size <= room-all.claims: // all announced bytes fit
		return kept, true
	case kept == more: // they take the place of the rests of other rooms
		return kept, size <= left && size <= left+own.bytes-own.claims
	}
	return 0, false
}

// giveWay makes the slow uploads other than r give back the room for the bytes that they will not send within paceTime.
// It reports whether any upload did. The caller holds mu.
func (all *promises) giveWay(r *Room) (gave bool) {
	now := r.rooms.now()
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

// refusal returns the error for more bytes that do not fit. The caller holds mu.
func (all *promises) refusal(r *Room, more, free, history int64) error {
	err := errPromised
	if more <= tooMuch && volumes.InBlocks(more) <= free+history {
		err = ErrKept
	}
	err = fmt.Errorf("%d bytes are wanted, %d are free, of which uploads on the way have announced %d, and %d more "+
		"can be had from the history: %w", more, free, all.claims-r.claim, history, err)
	return &iofs.PathError{Op: "reserve", Path: r.volume.StatePath(volumes.StagePart), Err: err}
}

// cover is called before n bytes are written. It keeps room for these bytes, and for more bytes of the rest.
func (r *Room) cover(n int64) error {
	all, unlock := r.lock()
	defer unlock()
	if r.rest == 0 {
		return nil
	}
	free, known := r.freeBytes()
	if !known {
		r.rest = 0
		r.hold(all)
		return nil
	}
	unsent := r.length - r.staged
	kept := unsent - r.rest
	size := volumes.InBlocks(r.staged+n) - volumes.InBlocks(r.staged)
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

// tidy deletes the trash, and the versions that the history need not keep any longer. It reports whether to try again.
func (r *Room) tidy() bool {
	if r.tidied >= maxTidied || r.ctx.Err() != nil {
		return false
	}
	r.tidied++
	return r.history.Tidy(r.ctx)
}
