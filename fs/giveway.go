package fs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// MakeRoom frees space on the disk that an error says is full. It is for a change that needs little room and has been
// decided. MakeRoom deletes removed versions and discarded staged files that are not deleted yet. If there are none, it
// drops the oldest part of the history. It reports whether it has freed any space. It must not be called under
// [FS.Lock].
func (s *FS) MakeRoom(ctx context.Context, full error, name string) (freed bool) {
	r := &room{volume: s.volumeOfError(full), ctx: ctx, need: Need{Name: name}, known: true}
	defer r.release()
	return r.freeSpace(full, true) == nil
}

// MakeRoom is [FS.MakeRoom] for the commit of a staged file or collection.
func (st *Staged) MakeRoom(ctx context.Context, full error) (freed bool) {
	v := st.volume.volumeOfError(full)
	if v == st.volume && st.room != nil {
		return st.room.freeSpace(full, true) == nil
	}
	r := &room{volume: v, ctx: ctx, need: st.room.need, known: st.room.known}
	defer r.release()
	return r.freeSpace(full, true) == nil
}

// freeSpace frees some space for a call that has failed because the disk is full, and returns nil if it did. Otherwise
// it returns the error of that call, or the error of need.Ask. step says that the call makes a name or writes a few
// bytes.
func (r *room) freeSpace(full error, step bool) error {
	if r == nil {
		return full
	}
	if r.tidy() {
		return nil
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.mayMeasure() {
		if err := r.measure(); err != nil {
			return err
		}
	}
	v := r.volume
	free, known := v.free()
	if free > r.free {
		r.vain = 0
	}
	r.free = free
	if r.vain >= maxVain {
		return full
	}
	files := step && known && free >= scarce
	g, err := v.findDroppable(r)
	if err != nil {
		v.report(err)
		return full
	}
	if errors.Is(full, syscall.EDQUOT) || !known {
		free = 0
	}
	missing := r.missing(free)
	if r.known && missing > g.older && (!r.mayClaimLast() || missing > g.older+r.ofLast(g, missing)) {
		return full
	}
	for _, dir := range g.dirs {
		if err := r.ask(); err != nil {
			return err
		}
		if v.dropHour(r.ctx, dir, r.need.Name) {
			r.vain++
			return nil
		}
	}
	if !r.known || !files && r.length-r.staged > r.tailOf(r.length) || !r.claimLast() {
		return full
	}
	if err := r.ask(); err != nil {
		return err
	}
	if !v.dropOfLastHour(r, g, max(missing, scarce), files) {
		return full
	}
	r.vain++
	return nil
}

// missing returns how many of the bytes to be staged will find no space, as far as is known.
func (r *room) missing(free int64) int64 {
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	return max(r.length-r.staged-max(free-(all.bytes-r.held), 0), 0)
}

func (r *room) ask() error {
	if r.need.Ask == nil {
		return nil
	}
	return r.need.Ask()
}

// claimLast reports whether versions of the last hour may be dropped for this room. No other room may drop them until
// this room is released.
func (r *room) claimLast() bool {
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	if !r.mayBeLast(all) {
		return false
	}
	all.last = r
	return true
}

// mayClaimLast reports whether claimLast would return true.
func (r *room) mayClaimLast() bool {
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	return r.mayBeLast(all)
}

// mayBeLast is mayClaimLast for a caller that holds promises.mu. A slow upload does not keep the last hour for itself.
func (r *room) mayBeLast(all *promises) bool {
	return all.last == nil || all.last == r || all.last.isSlow(r.volume.opts.Now())
}

// A droppable is the part of the history that may be dropped to free space for a room.
type droppable struct {
	dirs  []string // may be dropped as a whole, the oldest first
	older int64    // the bytes in dirs
	empty []string // directories with nothing in them

	last      []string // the oldest directories of the last hour: only some of their versions may be dropped
	lastBytes int64    // in last
}

// aMoment is how long a measured size of a directory of the history counts as current.
const aMoment = time.Second

// findDroppable finds the part of the history that may be dropped. The last hour is the versions that were replaced or
// removed within lastHour, as long as they take no more than half of the space that the history may take. Without that
// limit, after a large upload to a small disk, the last hour would be all of the history. The last directory always
// belongs to the last hour.
func (v *volume) findDroppable(r *room) (g droppable, err error) {
	dirs, err := v.hours()
	if err != nil {
		return g, err
	}
	v.history.mu.Lock()
	most := v.history.most / 2
	v.history.mu.Unlock()
	if !r.known || most == 0 {
		most = math.MaxInt64
	}
	begin := v.opts.Now().Add(-lastHour - time.Hour) // an hour ends an hour after its name
	var total int64
	var last []measured
	for _, dir := range slices.Backward(dirs) {
		size, err := v.measure(r.ctx, dir, aMoment)
		if err != nil {
			return g, err
		}
		hour, _ := hourOf(dir)
		total += size.bytes
		switch {
		case size.count == 0:
			g.empty = append(g.empty, dir)
		case len(g.last) == 0, len(g.dirs) == 0 && hour.After(begin) && total <= most:
			g.last, last = append(g.last, dir), append(last, size)
		case r.need.Keep.at == "" || !volumes.IsIn(r.need.Keep.at, dir):
			g.dirs = append(g.dirs, dir)
			g.older += size.bytes
		}
	}
	slices.Reverse(g.dirs)
	slices.Reverse(g.last)
	count := 0
	for i, size := range slices.Backward(last) { // last begins with the newest: this loop begins with the oldest
		if count += size.count; count > maxLast && i < len(last)-1 {
			g.last = g.last[:len(last)-1-i]
			break
		}
		g.lastBytes += size.bytes
	}
	return g, nil
}

// olderSize returns the measured size of the directories of the history that give way first, which are all but the last
// one.
func (v *volume) olderSize() (total int64) {
	v.history.mu.Lock()
	defer v.history.mu.Unlock()
	last := ""
	for dir, size := range v.history.sizes {
		total += size.bytes
		last = max(last, dir)
	}
	return total - v.history.sizes[last].bytes
}

// dropHour drops one directory of the history and deletes it. It reports whether any version is gone.
func (v *volume) dropHour(ctx context.Context, dir, to string) bool {
	size, _ := v.measure(ctx, dir, aMoment)
	dropped, err := v.drop(ctx, dir, false)
	if err = v.trash.Once(dir, err); err != nil {
		v.report(err)
	}
	if !dropped {
		return false
	}
	hour, _ := hourOf(dir)
	v.report(&GaveWay{To: to, Versions: size.count, Bytes: size.bytes, Hour: hour})
	v.trash.Tidy(ctx)
	return true
}

// A GaveWay says which part of the history was dropped because the disk was full. See [FS.ReportTo].
type GaveWay struct {
	To       string // the versions gave way to a change of this name
	Versions int
	Bytes    int64
	Hour     time.Time // the start of the hour in which the last of the versions was replaced or removed
	Last     bool      // only some versions of the last hour are gone
}

func (g *GaveWay) Error() string {
	versions := "versions"
	if g.Versions == 1 {
		versions = "version"
	}
	from, to := g.Hour.Format(time.RFC3339), g.Hour.Add(time.Hour).Format("15:04Z")
	return fmt.Sprintf("the disk is full, and the history gave way to %q: gone are %d %s (%d bytes) of what was "+
		"replaced or removed between %s and %s", g.To, g.Versions, versions, g.Bytes, from, to)
}

// A last is a version of the last hour.
type last struct {
	dir, entry string
	note       note
	bytes      int64
	newest     bool // the newest of its name seen, or a collection: a member can be the newest of its name
}

// lastVersions are the versions of the last hour, as they were found a moment ago. They are remembered because a look
// at each of them takes time, and on a full disk each upload asks for them.
type lastVersions struct {
	mu   sync.Mutex
	dirs []string
	at   time.Time
	all  []last
}

// versionsOf returns the versions of the last hour that may give way to a room, the oldest first. It returns separately
// the newest versions of all names except the name of the room.
func (v *volume) versionsOf(r *room, dirs []string) (may, newest []last) {
	l := &v.lastVersions
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.dirs, dirs) || v.opts.Now().Sub(l.at) >= aMoment {
		all, err := v.lookAtLast(r.ctx, dirs)
		if err != nil {
			return nil, nil
		}
		l.all, l.dirs, l.at = all, dirs, v.opts.Now()
	}
	for _, one := range l.all {
		switch {
		case one.entry == r.need.Keep.at:
		case one.newest && one.note.path != r.need.Name:
			newest = append(newest, one)
		default:
			may = append(may, one)
		}
	}
	return may, newest
}

// lookAtLast finds the versions of the last hour and their sizes.
func (v *volume) lookAtLast(ctx context.Context, dirs []string) (all []last, err error) {
	latest := map[string]int64{}
	noted := map[string]map[string]note{}
	for _, dir := range dirs {
		noted[dir] = v.notes(dir)
		for _, n := range noted[dir] {
			latest[n.path] = max(latest[n.path], n.time)
		}
	}
	for dir, notes := range noted {
		spared := map[string]bool{}
		for _, base := range v.recovered(slices.Collect(maps.Keys(notes)), notes) {
			spared[base] = true
		}
		for base, n := range notes {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			k, ok := v.version(dir+"/"+base, n)
			if !ok || n.path == "" || spared[base] {
				continue
			}
			bytes, err := v.sizeOf(ctx, k.at, k.Info)
			if err != nil {
				return nil, err
			}
			all = append(all, last{dir, k.at, n, bytes, n.time >= latest[n.path] || k.Kind == Directory})
		}
	}
	slices.SortFunc(all, func(a, b last) int { return cmp.Compare(a.note.time, b.note.time) })
	return all, nil
}

// ofLast returns how many bytes, up to most, can be freed by dropping versions of the last hour.
func (r *room) ofLast(g droppable, most int64) (bytes int64) {
	if len(g.last) == 0 || !r.known {
		return 0
	}
	may, _ := r.volume.versionsOf(r, g.last)
	for _, one := range may {
		bytes += one.bytes
	}
	return min(bytes, most)
}

// dropOfLastHour drops versions of the last hour until so many bytes are free. files says that the disk has no room for
// another file: then it drops a few versions, even if their names have no newer version. It reports whether any version
// has gone.
func (v *volume) dropOfLastHour(r *room, g droppable, bytes int64, files bool) bool {
	if files && len(g.last) == 0 {
		// The empty directories have only the notes of entries that are gone.
		return slices.ContainsFunc(g.empty, func(dir string) bool { return v.dropEmpty(r.ctx, dir) })
	}
	may, newest := v.versionsOf(r, g.last)
	gave := &GaveWay{To: r.need.Name, Last: true}
	if files && len(may) == 0 {
		may = newest
	}
	if files {
		may, bytes = may[:min(batch, len(may))], math.MaxInt64
	}
	dirs := map[string]bool{}
	for len(may) > 0 && gave.Bytes < bytes && r.ctx.Err() == nil {
		n := min(batch, len(may))
		unlock, err := v.Lock(r.ctx)
		if err != nil {
			break
		}
		for _, one := range may[:n] {
			if _, ok := v.version(one.entry, one.note); !ok || gave.Bytes >= bytes {
				continue
			}
			if err := v.trash.Put(one.entry); err == nil {
				gave.Versions++
				gave.Bytes += one.bytes
				gave.Hour, _ = hourOf(one.dir)
				dirs[one.dir] = true
			}
		}
		unlock()
		may = may[n:]
	}
	v.lastVersions.mu.Lock()
	v.lastVersions.dirs = nil
	v.lastVersions.mu.Unlock()
	if gave.Versions == 0 {
		return false
	}
	v.report(gave)
	for dir := range dirs {
		v.dropEmpty(r.ctx, dir)
	}
	v.trash.Tidy(r.ctx)
	return true
}

// dropEmpty deletes a directory of the history that has nothing but notes of entries that are gone. It reports whether
// it did.
func (v *volume) dropEmpty(ctx context.Context, dir string) bool {
	size, err := v.measure(ctx, dir, 0)
	if err != nil || size.count > 0 {
		return false
	}
	dropped, _ := v.drop(ctx, dir, false)
	return dropped && v.trash.Tidy(ctx)
}
