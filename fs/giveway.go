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
)

// MakeRoom frees what it can of the disk that an error says is full, for a change that needs little room, and has been
// decided: what was removed or discarded and is not deleted yet, or else the oldest part of the history. It reports
// whether there was anything. It must not be called under [FS.Lock].
func (s *FS) MakeRoom(ctx context.Context, full error, name string) (freed bool) {
	r := &room{place: s.placeOfError(full), ctx: ctx, need: Need{Name: name}, known: true}
	defer r.end()
	return r.makeWay(full, true) == nil
}

// MakeRoom is [FS.MakeRoom] for a commit of what is staged.
func (st *Staged) MakeRoom(ctx context.Context, full error) (freed bool) {
	p := st.place.placeOfError(full)
	if p == st.place && st.room != nil {
		return st.room.makeWay(full, true) == nil
	}
	r := &room{place: p, ctx: ctx, need: st.room.need, known: st.room.known}
	defer r.end()
	return r.makeWay(full, true) == nil
}

// makeWay frees some of what can be, for a call that has failed since the disk is full, and says so by nil. Else it returns
// that error, or what need.Ask says. A step makes a name, or writes down little.
func (r *room) makeWay(full error, step bool) error {
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
	p := r.place
	free, known := p.free()
	if free > r.free {
		r.vain = 0
	}
	r.free = free
	if r.vain >= maxVain {
		return full
	}
	files := step && known && free >= scarce
	g, err := p.givable(r)
	if err != nil {
		p.tell(err)
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
		if p.giveWay(r.ctx, dir, r.need.Name) {
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
	if !p.giveOfLast(r, g, max(missing, scarce), files) {
		return full
	}
	r.vain++
	return nil
}

// missing returns how many bytes there will be that find no room, as far as is known.
func (r *room) missing(free int64) int64 {
	all := r.place.promises()
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

// claimLast reports whether the last hour may give way to this one, and to nobody else until this has ended.
func (r *room) claimLast() bool {
	all := r.place.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.last == nil {
		all.last = r
	}
	return all.last == r
}

// mayClaimLast reports whether claimLast would.
func (r *room) mayClaimLast() bool {
	all := r.place.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.last == nil || all.last == r
}

// A givable is what of the history may give way to something.
type givable struct {
	dirs  []string // as a whole, the oldest first
	older int64    // bytes in these
	empty []string // directories with nothing in them

	last      []string // the oldest of those of the last hour, which stay but for some versions
	lastBytes int64    // in these
}

// aMoment is for how long it is believed what a directory of the history takes.
const aMoment = time.Second

// givable looks what may give way. The last hour is what was replaced or removed within lastHour, as far as that is not
// more than half of what the history may take: of a large upload to a small disk it would else be all there is. The last
// directory is part of it at any rate.
func (p *place) givable(r *room) (g givable, err error) {
	dirs, err := p.hours()
	if err != nil {
		return g, err
	}
	p.history.mu.Lock()
	most := p.history.most / 2
	p.history.mu.Unlock()
	if !r.known || most == 0 {
		most = math.MaxInt64
	}
	begin := p.opts.Now().Add(-lastHour - time.Hour) // an hour ends an hour after its name
	var total int64
	var last []measured
	for _, dir := range slices.Backward(dirs) {
		size, err := p.measure(r.ctx, dir, aMoment)
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
		case r.need.Keep.at == "" || !isIn(r.need.Keep.at, dir):
			g.dirs = append(g.dirs, dir)
			g.older += size.bytes
		}
	}
	slices.Reverse(g.dirs)
	slices.Reverse(g.last)
	count := 0
	for i, size := range slices.Backward(last) { // the oldest of them
		if count += size.count; count > maxLast && i < len(last)-1 {
			g.last = g.last[:len(last)-1-i]
			break
		}
		g.lastBytes += size.bytes
	}
	return g, nil
}

// olderSize returns what the directories of the history take that give way first, as it has been found.
func (p *place) olderSize() (total int64) {
	p.history.mu.Lock()
	defer p.history.mu.Unlock()
	last := ""
	for dir, size := range p.history.sizes {
		total += size.bytes
		last = max(last, dir)
	}
	return total - p.history.sizes[last].bytes
}

// giveWay lets a directory of the history go, and deletes it. It reports whether any version has gone.
func (p *place) giveWay(ctx context.Context, dir, to string) bool {
	size, _ := p.measure(ctx, dir, aMoment)
	dropped, err := p.drop(ctx, dir, false)
	if err = p.once(dir, err); err != nil {
		p.tell(err)
	}
	if !dropped {
		return false
	}
	hour, _ := hourOf(dir)
	p.tell(&GaveWay{To: to, Versions: size.count, Bytes: size.bytes, Hour: hour})
	p.tidy(ctx)
	return true
}

// A GaveWay says which part of the history is gone, since the disk was full; see [FS.ReportTo].
type GaveWay struct {
	To       string // what was about to have this name
	Versions int
	Bytes    int64
	Hour     time.Time // when that began in which they, or the last of them, were replaced or removed
	Last     bool      // it was the last hour, and they are not all of it
}

func (g *GaveWay) Error() string {
	which, versions := "all", "versions"
	if g.Last {
		which = "some"
	}
	if g.Versions == 1 {
		versions = "version"
	}
	return fmt.Sprintf("the disk is full, and the history gave way to %q: gone are %d %s (%d bytes), %s that was replaced or "+
		"removed between %s and %s", g.To, g.Versions, versions, g.Bytes, which, g.Hour.Format(time.RFC3339), g.Hour.Add(time.Hour).Format("15:04Z"))
}

// A last is a version of the last hour.
type last struct {
	dir, entry string
	note       note
	bytes      int64
	newest     bool // as far as was looked, or a collection: what is in that can be the newest of its name
}

// lastVersions are those of the last hour, as they were found a moment ago: to look at each is work, and on a full disk each
// upload asks.
type lastVersions struct {
	mu   sync.Mutex
	dirs []string
	at   time.Time
	all  []last
}

// versionsOf returns the versions of the last hour that may give way to something, the oldest first, and apart from these the
// newest ones of all names but its own.
func (p *place) versionsOf(r *room, dirs []string) (may, newest []last) {
	l := &p.lastVersions
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.dirs, dirs) || p.opts.Now().Sub(l.at) >= aMoment {
		all, err := p.lookAtLast(r.ctx, dirs)
		if err != nil {
			return nil, nil
		}
		l.all, l.dirs, l.at = all, dirs, p.opts.Now()
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

// lookAtLast looks at the versions of the last hour.
func (p *place) lookAtLast(ctx context.Context, dirs []string) (all []last, err error) {
	latest := map[string]int64{}
	noted := map[string]map[string]note{}
	for _, dir := range dirs {
		noted[dir] = p.notes(dir)
		for _, n := range noted[dir] {
			latest[n.path] = max(latest[n.path], n.time)
		}
	}
	for dir, notes := range noted {
		spared := map[string]bool{}
		for _, base := range p.recovered(slices.Collect(maps.Keys(notes)), notes) {
			spared[base] = true
		}
		for base, n := range notes {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			k, ok := p.version(dir+"/"+base, n)
			if !ok || n.path == "" || spared[base] {
				continue
			}
			bytes, err := p.sizeOf(ctx, k.at, k.Info)
			if err != nil {
				return nil, err
			}
			all = append(all, last{dir, k.at, n, bytes, n.time >= latest[n.path] || k.Kind == Directory})
		}
	}
	slices.SortFunc(all, func(a, b last) int { return cmp.Compare(a.note.time, b.note.time) })
	return all, nil
}

// ofLast returns how many of some bytes can be had of the last hour.
func (r *room) ofLast(g givable, most int64) (bytes int64) {
	if len(g.last) == 0 || !r.known {
		return 0
	}
	may, _ := r.place.versionsOf(r, g.last)
	for _, one := range may {
		bytes += one.bytes
	}
	return min(bytes, most)
}

// giveOfLast lets versions of the last hour go, of so many bytes; or a few, even if there is no newer one, where the disk
// has no room for another file. It reports whether any have gone.
func (p *place) giveOfLast(r *room, g givable, bytes int64, files bool) bool {
	if files && len(g.last) == 0 {
		// What each had noted of what is gone.
		return slices.ContainsFunc(g.empty, func(dir string) bool { return p.dropEmpty(r.ctx, dir) })
	}
	may, newest := p.versionsOf(r, g.last)
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
		unlock, err := p.Lock(r.ctx)
		if err != nil {
			break
		}
		for _, one := range may[:n] {
			if _, ok := p.version(one.entry, one.note); !ok || gave.Bytes >= bytes {
				continue
			}
			if err := p.rename(one.entry, p.unique(p.in(trashPart), "")); err == nil {
				gave.Versions++
				gave.Bytes += one.bytes
				gave.Hour, _ = hourOf(one.dir)
				dirs[one.dir] = true
			}
		}
		unlock()
		may = may[n:]
	}
	p.lastVersions.mu.Lock()
	p.lastVersions.dirs = nil
	p.lastVersions.mu.Unlock()
	if gave.Versions == 0 {
		return false
	}
	p.tell(gave)
	for dir := range dirs {
		p.dropEmpty(r.ctx, dir)
	}
	p.tidy(r.ctx)
	return true
}

// dropEmpty deletes a directory of the history that has nothing but notes of what is gone, and reports whether it did.
func (p *place) dropEmpty(ctx context.Context, dir string) bool {
	size, err := p.measure(ctx, dir, 0)
	if err != nil || size.count > 0 {
		return false
	}
	dropped, _ := p.drop(ctx, dir, false)
	return dropped && p.tidy(ctx)
}
