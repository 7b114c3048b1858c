package history

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A Claim is a version that is going to be staged, to which the history gives way.
type Claim struct {
	Name  string // of the version
	Keep  string // the ID of a version that does not give way
	Known bool   // it has no more bytes than it has announced, so the versions of the last hour may give way to it
}

// A Droppable is the part of the history that may be dropped to free space for a claim.
type Droppable struct {
	Older     int64 // bytes that may be dropped by whole directories
	LastBytes int64 // bytes of the last hour

	history *History
	claim   Claim
	dirs    []string // may be dropped as a whole, the oldest first
	empty   []string // directories with nothing in them
	last    []string // the oldest directories of the last hour: only some of their versions may be dropped
}

const (
	// lastHour is how long a replaced or removed version stays in the history, with some exceptions. See FindDroppable.
	lastHour = time.Hour
	// maxLast bounds how many versions of the last hour are looked at, the oldest first.
	maxLast = 20_000
)

// aMoment is how long a measured size of a directory of the history counts as current.
const aMoment = time.Second

// FindDroppable finds the part of the history that may be dropped. The last hour is the versions that were replaced or
// removed within lastHour, as long as they take no more than half of the space that the history may take. Without that
// limit, after a large upload to a small disk, the last hour would be all of the history. The last directory always
// belongs to the last hour.
func (h *History) FindDroppable(ctx context.Context, c Claim) (g Droppable, err error) {
	g.history, g.claim = h, c
	dirs, err := h.hours()
	if err != nil {
		return g, err
	}
	h.mu.Lock()
	most := h.most / 2
	h.mu.Unlock()
	if !c.Known || most == 0 {
		most = math.MaxInt64
	}
	begin := h.opts.Now().Add(-lastHour - time.Hour) // an hour ends an hour after its name
	var total int64
	var last []measured
	for _, dir := range slices.Backward(dirs) {
		size, err := h.measure(ctx, dir, aMoment)
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
		case c.Keep == "" || !vfs.IsIn(c.Keep, dir):
			g.dirs = append(g.dirs, dir)
			g.Older += size.bytes
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
		g.LastBytes += size.bytes
	}
	return g, nil
}

// OlderSize returns the measured size of the directories of the history that give way first, which are all but the last
// one.
func (h *History) OlderSize() (total int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := ""
	for dir, size := range h.sizes {
		total += size.bytes
		last = max(last, dir)
	}
	return total - h.sizes[last].bytes
}

// DropOldest drops the oldest directory that can be dropped, and deletes it. It calls ask before each try, and fails
// with its error. It reports whether any version is gone.
func (g Droppable) DropOldest(ctx context.Context, ask func() error) (dropped bool, err error) {
	for _, dir := range g.dirs {
		if err := ask(); err != nil {
			return false, err
		}
		if g.history.dropHour(ctx, dir, g.claim.Name) {
			return true, nil
		}
	}
	return false, nil
}

// dropHour drops one directory of the history and deletes it. It reports whether any version is gone.
func (h *History) dropHour(ctx context.Context, dir, to string) bool {
	size, _ := h.measure(ctx, dir, aMoment)
	dropped, err := h.drop(ctx, dir, false)
	if err = h.trash.Once(dir, err); err != nil {
		h.report(err)
	}
	if !dropped {
		return false
	}
	hour, _ := hourOf(dir)
	h.report(&GaveWay{To: to, Versions: size.count, Bytes: size.bytes, Hour: hour})
	h.trash.Tidy(ctx)
	return true
}

// A GaveWay says which part of the history was dropped because the disk was full.
type GaveWay struct {
	To       string // the versions gave way to a change of this name
	Versions int
	Bytes    int64
	Hour     time.Time // the start of the hour in which the last of the versions was replaced or removed
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
	note       Note
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

// versions returns the versions of the last hour that may give way to the claim, the oldest first. It returns
// separately the newest versions of all names except the name of the claim.
func (g Droppable) versions(ctx context.Context) (may, newest []last) {
	h := g.history
	l := &h.lastVersions
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.dirs, g.last) || h.opts.Now().Sub(l.at) >= aMoment {
		all, err := h.lookAtLast(ctx, g.last)
		if err != nil {
			return nil, nil
		}
		l.all, l.dirs, l.at = all, g.last, h.opts.Now()
	}
	for _, one := range l.all {
		switch {
		case one.entry == g.claim.Keep:
		case one.newest && one.note.Path != g.claim.Name:
			newest = append(newest, one)
		default:
			may = append(may, one)
		}
	}
	return may, newest
}

// lookAtLast finds the versions of the last hour and their sizes.
func (h *History) lookAtLast(ctx context.Context, dirs []string) (all []last, err error) {
	latest := map[string]int64{}
	noted := map[string]map[string]Note{}
	spares := h.spares()
	for _, dir := range dirs {
		noted[dir] = h.notes(dir)
		for _, n := range noted[dir] {
			latest[n.Path] = max(latest[n.Path], n.Time)
		}
	}
	for dir, notes := range noted {
		for base, n := range notes {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			k, ok := h.version(dir+"/"+base, n)
			if !ok || n.Path == "" || spares(n) {
				continue
			}
			bytes, err := h.sizeOf(ctx, k.at, k.Info)
			if err != nil {
				return nil, err
			}
			all = append(all, last{dir, k.at, n, bytes, n.Time >= latest[n.Path] || k.Kind == vfs.Directory})
		}
	}
	slices.SortFunc(all, func(a, b last) int { return cmp.Compare(a.note.Time, b.note.Time) })
	return all, nil
}

// OfLast returns how many bytes, up to most, can be freed by dropping versions of the last hour.
func (g Droppable) OfLast(ctx context.Context, most int64) (bytes int64) {
	if len(g.last) == 0 || !g.claim.Known {
		return 0
	}
	may, _ := g.versions(ctx)
	for _, one := range may {
		bytes += one.bytes
	}
	return min(bytes, most)
}

// DropOfLast drops versions of the last hour until a number of bytes are free. files says that the disk has no room for
// another file: then it drops a few versions, even if their names have no newer version. It reports whether any version
// has gone.
func (g Droppable) DropOfLast(ctx context.Context, bytes int64, files bool) bool {
	h := g.history
	if files && len(g.last) == 0 {
		// The empty directories have only the notes of entries that are gone.
		return slices.ContainsFunc(g.empty, func(dir string) bool { return h.dropEmpty(ctx, dir) })
	}
	may, newest := g.versions(ctx)
	gave := &GaveWay{To: g.claim.Name}
	if files && len(may) == 0 {
		may = newest
	}
	if files {
		may, bytes = may[:min(batch, len(may))], math.MaxInt64
	}
	dirs := map[string]bool{}
	for len(may) > 0 && gave.Bytes < bytes && ctx.Err() == nil {
		n := min(batch, len(may))
		unlock, err := h.volume.Lock(ctx)
		if err != nil {
			break
		}
		for _, one := range may[:n] {
			if _, ok := h.version(one.entry, one.note); !ok || gave.Bytes >= bytes {
				continue
			}
			if err := h.trash.Put(one.entry); err == nil {
				gave.Versions++
				gave.Bytes += one.bytes
				gave.Hour, _ = hourOf(one.dir)
				dirs[one.dir] = true
			}
		}
		unlock()
		may = may[n:]
	}
	h.lastVersions.mu.Lock()
	h.lastVersions.dirs = nil
	h.lastVersions.mu.Unlock()
	if gave.Versions == 0 {
		return false
	}
	h.report(gave)
	for dir := range dirs {
		h.dropEmpty(ctx, dir)
	}
	h.trash.Tidy(ctx)
	return true
}

// dropEmpty deletes a directory of the history that has nothing but notes of entries that are gone. It reports whether
// it did.
func (h *History) dropEmpty(ctx context.Context, dir string) bool {
	size, err := h.measure(ctx, dir, 0)
	if err != nil || size.count > 0 {
		return false
	}
	dropped, _ := h.drop(ctx, dir, false)
	return dropped && h.trash.Tidy(ctx)
}

// Tidy deletes the trash, and the versions that need not be kept any longer, since the disk is full. It reports whether
// to try again.
func (h *History) Tidy(ctx context.Context) (freed bool) {
	return h.trash.Tidy(ctx) || h.expireNow(ctx) && h.trash.Tidy(ctx)
}
