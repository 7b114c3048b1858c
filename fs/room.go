package fs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"math"
	"path"
	"slices"
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

// IsAttributeFull reports whether an error says that there is no room with a file for what [FS.SetAttributes] was given.
func IsAttributeFull(err error) bool { return errors.Is(err, errAttribute) }

// Space tells how much room there is where a name is: what is promised is not free, and the history that gives way is. errors.ErrUnsupported where nobody says.
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
	for _, p := range s.places() {
		if p.volume == volumeOf(info) {
			promises := p.promises()
			promises.mu.Lock()
			space.Free += p.olderSize() - promises.bytes
			promises.mu.Unlock()
		}
	}
	return space, nil
}

// A Need is what is known of what is going to be staged, since the disk may have no room for it.
//
// What was removed and is not kept is deleted first, at any time. Then the history gives way, the oldest first, and
// directory by directory; what will not fit even so is refused before any goes. The last hour gives way only to what is
// nearly staged, to one such at a time, version by version, and never the newest of a name, unless that is the name that
// is written; nor at all where nobody knows how much there will be.
type Need struct {
	Name   string
	Length int64 // of the content, in bytes; -1 where nobody knows. Room is kept for it until it is committed or discarded
	// Measure, if not nil, is asked for the Length once more than unmeasured is written, or the disk has no room for it. A
	// copy may share its content, and to measure a tree takes a look at all of it.
	Measure func() (int64, error)
	// Arrived: all of it is at hand, and has only to be written.
	Arrived bool
	// Ask, if not nil, is asked before the history gives way, under no lock: what has been accepted a while ago may be refused
	// now. Its error is what the caller gets.
	Ask  func() error
	Keep Kept // stays in the history, whatever happens
}

const (
	// lastHour is for how long what was replaced or removed stays, but for some versions; see givable.
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
	// scarce is what is left on a disk that has no room for bytes. Where there is more, it has no room for another file.
	scarce = 16 * block
	// tooMuch is more than any disk has, in bytes: what is less can be added up.
	tooMuch = 1 << 60
	// maxLast bounds the versions of the last hour that are looked at, the oldest first.
	maxLast = 20_000
)

// A room is what is kept of a disk for what is being staged. The methods of nil keep nothing, and make no room.
type room struct {
	place *place
	ctx   context.Context
	need  Need

	known  bool  // there will be no more than length
	asked  bool  // need.Measure has been
	length int64 // that was promised
	staged int64 // of that
	held   int64 // what this is in promises.bytes, and
	tail   int64 // what it may get of the last hour, at most

	vain, tidied int
	free         int64 // when it was found to be full before
}

// promises are all the rooms on one disk.
type promises struct {
	mu    sync.Mutex
	bytes int64
	rooms map[*room]bool // that hold some of it
	last  *room          // the one to which the last hour gives way
}

func (p *place) promises() *promises {
	all, _ := p.promised.LoadOrStore(p.volume.device, &promises{rooms: map[*room]bool{}})
	return all.(*promises)
}

func (p *place) newRoom(ctx context.Context, need Need) (*room, error) {
	r := &room{place: p, ctx: ctx, need: need}
	if r.known = need.isKnown(); !r.known {
		return r, nil
	}
	return r, r.promise(need.Length)
}

// hold notes what is promised and not staged yet; promises.mu must be held. What the disk needs besides, to find the content
// again, is a part of that.
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

// promise keeps room for more bytes, if there is that much beside all that is promised, or what is known can be had from the
// history.
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
	g, failed := r.place.givable(r)
	if failed != nil {
		r.place.tell(failed)
		return err
	}
	if err = r.take(more, g.older); err == nil || r.fits(more, g.older+g.lastBytes) != nil {
		return err
	}
	// What others take of the last hour later leaves so much for this one now.
	if last := r.ofLast(g, max(r.tailOf(r.length+more), r.place.promises().longestTail())); last > 0 {
		err = r.take(more, g.older+last)
	}
	return err
}

// take keeps room for more bytes if so many of the history are counted as free.
func (r *room) take(more, history int64) error {
	all := r.place.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	free, known := r.place.free()
	if !known {
		r.length += more
		return nil
	}
	if err := all.allow(r.place, more, free, history); err != nil {
		return err
	}
	r.length += more
	r.hold(all)
	return nil
}

// fits is take that takes nothing.
func (r *room) fits(more, history int64) error {
	all := r.place.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	free, _ := r.place.free()
	return all.allow(r.place, more, free, history)
}

func (all *promises) allow(p *place, more, free, history int64) error {
	if more <= tooMuch && inBlocks(more) <= free+history-all.bytes {
		return nil
	}
	err := fmt.Errorf("%d bytes are wanted, %d are free, of which %d are promised to others, and %d more can be had "+
		"from the history: %w", more, free, all.bytes, history, errPromised)
	return &iofs.PathError{Op: "reserve", Path: p.in(stagePart), Err: err}
}

func (n Need) isKnown() bool { return n.Length >= 0 && n.Measure == nil }

// tidy deletes what is nobody's, and what the history is not to keep in any case. It reports whether to try again.
func (r *room) tidy() bool {
	if r.tidied >= maxTidied || r.ctx.Err() != nil {
		return false
	}
	r.tidied++
	return r.place.tidy(r.ctx) || r.place.expireNow(r.ctx) && r.place.tidy(r.ctx)
}

// free returns what is free on the disk of a place, where that is known.
func (p *place) free() (bytes int64, known bool) {
	space, err := p.calls.Space(p.at)
	return space.Free, err == nil && space.Size > 0
}

// begin is called before bytes are written.
func (r *room) begin(n int) error {
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
				err = r.makeWay(err, false)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *room) mayMeasure() bool { return r.need.Measure != nil && !r.asked }

// measure asks how much there will be, and keeps room for all of it.
func (r *room) measure() error {
	r.asked = true
	length, err := r.need.Measure()
	if err != nil || length <= r.length {
		return err
	}
	r.known = true
	return r.promise(length - r.length)
}

// add is called when bytes have been written.
func (r *room) add(n int) {
	if r == nil || n == 0 {
		return
	}
	all := r.place.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	r.staged += int64(n)
	r.vain, r.tidied = 0, 0
	r.hold(all)
}

// end gives back what is kept.
func (r *room) end() {
	if r == nil {
		return
	}
	all := r.place.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	r.length = 0
	r.hold(all)
	if all.last == r {
		all.last = nil
	}
}

// with runs step again as long as the disk is full and room can be made. It must not be called under [FS.Lock].
func (r *room) with(step func() error) error {
	for {
		err := step()
		if !IsFull(err) || r == nil {
			return err
		}
		if err := r.makeWay(err, true); err != nil {
			return err
		}
	}
}

// withRoom is room.with for what begins.
func (s *FS) withRoom(ctx context.Context, need Need, step func() error) error {
	var r *room
	defer func() { r.end() }()
	for {
		err := step()
		if !IsFull(err) || errors.Is(err, errPromised) {
			return err
		}
		if p := s.placeOfError(err); r == nil || r.place != p {
			r.end()
			r = &room{place: p, ctx: ctx, need: need, known: need.isKnown() || need.Measure != nil}
		}
		if err := r.makeWay(err, true); err != nil {
			return err
		}
	}
}

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
