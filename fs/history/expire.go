package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// batch is how many entries of the history are dropped at once, while no other change is possible.
const batch = 64

// A measured is the size of a directory of the history at a time.
type measured struct {
	bytes   int64
	count   int // of entries
	as      vfs.Fingerprint
	at      time.Time
	entries map[string]int64 // the size of each entry, for a directory that still gets new entries
}

// Retention says how long the history is kept.
type Retention struct {
	Keep  time.Duration // at least. 0: keep nothing new, and old entries for leftFor
	Most  int64         // bytes. Beyond it the oldest entries go first. 0: see Share
	Share float64       // of the file system, if Most is 0
}

// leftFor is how long a server without a history leaves entries that it finds. Another server may have kept them, or
// the same server with other settings, or a recovery.
const leftFor = 24 * time.Hour

// Expire drops the entries of the history that have been kept long enough, and the oldest entries if the history takes
// too much space. It may be called at any time except under the lock, which it takes for an instant.
func (s *Histories) Expire(ctx context.Context, r Retention) error {
	var errs []error
	for _, h := range s.answering() {
		errs = append(errs, h.expire(ctx, r))
	}
	return errors.Join(errs...)
}

func (h *History) expire(ctx context.Context, r Retention) error {
	dirs, err := h.hours()
	if err != nil {
		return err
	}
	most := r.Most
	if most == 0 && r.Share > 0 {
		if space, err := h.calls.Space(h.volume.Top); err == nil {
			most = int64(r.Share * float64(space.Size))
		}
	}
	h.mu.Lock()
	h.most, h.added, h.told = most, 0, &r
	h.mu.Unlock()
	oldest := h.oldest(r)
	var total int64
	var errs []error
	for _, dir := range slices.Backward(dirs) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if hour, _ := hourOf(dir); !hour.After(oldest) {
			_, err := h.drop(ctx, dir, true)
			errs = append(errs, h.trash.Once(dir, err))
			continue
		}
		size, err := h.measure(ctx, dir, 0)
		if err == nil && most > 0 && size.bytes > most {
			size, err = h.dropLarge(ctx, dir, size, most)
		}
		errs = append(errs, err)
		total += size.bytes
		if err != nil || most == 0 || total <= most && size.count > 0 {
			continue
		}
		dropped, err := h.drop(ctx, dir, false)
		errs = append(errs, h.trash.Once(dir, err))
		if !dropped {
			total -= size.bytes // it stays, so its size must not cause other drops
		}
	}
	h.forgetSizes()
	return errors.Join(errs...)
}

// dropLarge drops the entries of a directory of the history that are larger than all of the history may be, so that
// they do not cause all other entries to be dropped. It returns the size of the directory afterwards.
func (h *History) dropLarge(ctx context.Context, dir string, size measured, most int64) (measured, error) {
	if size.entries == nil {
		h.mu.Lock()
		delete(h.sizes, dir)
		h.mu.Unlock()
		var err error
		if size, err = h.measure(ctx, dir, 0); err != nil {
			return size, err
		}
	}
	notes, err := h.readNotes(dir)
	if err != nil {
		return size, err
	}
	var large []string
	spares := h.spares()
	for entry, bytes := range size.entries {
		if bytes > most && entry != pathsName && !spares(notes[entry]) {
			large = append(large, entry)
		}
	}
	for some := range slices.Chunk(large, batch) {
		unlock, err := h.volume.Lock(ctx)
		if err != nil {
			return size, err
		}
		for _, entry := range some {
			n := notes[entry]
			if _, ok := h.version(dir+"/"+entry, n); !ok {
				continue
			}
			if err := h.trash.Put(dir + "/" + entry); err != nil {
				unlock()
				return size, err
			}
			h.report(fmt.Errorf("the history does not keep what %q was: this takes %d bytes, "+
				"and all of the history may take %d", n.Path, size.entries[entry], most))
		}
		unlock()
	}
	return h.measure(ctx, dir, 0)
}

// ExpiryDue reports whether so many bytes have come to the history since the last [Histories.Expire] that another call
// is worthwhile.
func (s *Histories) ExpiryDue() bool { return slices.ContainsFunc(s.all(), (*History).expiryDue) }

// expireNow repeats the last call of Expire if new entries have come to the history since. It reports whether it did
// so.
func (h *History) expireNow(ctx context.Context) bool {
	h.mu.Lock()
	r, added := h.told, h.added
	h.mu.Unlock()
	if r == nil || added == 0 {
		return false
	}
	if err := h.expire(ctx, *r); err != nil && ctx.Err() == nil {
		h.report(err)
	}
	return true
}

func (h *History) expiryDue() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.most > 0 && h.added >= h.most/maxPart
}

// oldest returns the hour that expires now, together with all earlier hours.
func (h *History) oldest(r Retention) time.Time {
	keep := cmp.Or(r.Keep, leftFor)
	return h.opts.Now().Add(-keep - time.Hour) // an hour begins with its name, and ends an hour later
}

// drop moves a directory of the history to the trash, and reports whether it did. Before that, it tries again to move
// entries back whose commit has failed. Recovered entries stay in the history for their time, unless expired says that
// it is over: no request has asked for their removal. A directory that has only such entries stays.
func (h *History) drop(ctx context.Context, dir string, expired bool) (dropped bool, err error) {
	known, err := h.readNotes(dir)
	if err != nil {
		return false, err
	}
	var spared []string
	if !expired {
		names, err := h.tree.Entries(dir)
		if err = vfs.Ignoring(err, iofs.ErrNotExist); err != nil {
			return false, err
		}
		spares := h.spares()
		for _, name := range names {
			if spares(known[name]) {
				spared = append(spared, name)
			}
		}
		if len(spared) > 0 && len(spared) >= len(names)-1 {
			return false, nil
		}
	}
	unlock, err := h.volume.Lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	if h.holdsIn(dir) {
		return false, nil
	}
	h.leavePart(dir)
	if err := h.above.RetryUndos(dir); err != nil {
		return false, fmt.Errorf("the history cannot let go of %s yet: %w", dir, err)
	}
	for _, entry := range spared {
		n := known[entry]
		n.Always = true
		if _, err := h.Archive(dir+"/"+entry, n); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return false, err
		}
	}
	err = h.trash.Put(dir)
	return err == nil, vfs.Ignoring(err, iofs.ErrNotExist) // another caller may have moved it
}

// spares returns a function that reports whether an entry was recovered and has not been kept for long enough.
func (h *History) spares() func(Note) bool {
	h.mu.Lock()
	keep := leftFor
	if r := h.told; r != nil {
		keep = cmp.Or(r.Keep, leftFor)
	}
	h.mu.Unlock()
	young := h.opts.Now().Add(-keep).UnixNano()
	return func(n Note) bool { return n.Cause == CauseRecovered && n.Time > young }
}

// measure returns the size of a directory of the history. It returns the size that was measured before if no entry was
// added or removed since, or if less time than moment has passed.
func (h *History) measure(ctx context.Context, dir string, moment time.Duration) (measured, error) {
	info, err := h.calls.Lstat(dir)
	if err != nil {
		return measured{}, vfs.Ignoring(err, iofs.ErrNotExist)
	}
	now := h.opts.Now()
	h.mu.Lock()
	known, ok := h.sizes[dir]
	current := dir == h.partDir(h.hour, h.part)
	h.mu.Unlock()
	same := ok && info.Inode != 0 && known.as == info.Fingerprint
	if same || ok && now.Sub(known.at) < moment {
		if same && known.entries != nil && !current {
			known.entries = nil
			h.rememberSize(dir, known)
		}
		return known, nil
	}
	m := measured{as: info.Fingerprint, at: now, entries: map[string]int64{}, bytes: volumes.Block}
	names, err := h.tree.Entries(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return measured{}, nil
	}
	if err != nil {
		return m, err
	}
	in, err := h.calls.OpenDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return measured{}, nil
	}
	if err != nil {
		return m, err
	}
	defer in.Close()
	for _, name := range names {
		if ctx.Err() != nil {
			return m, ctx.Err()
		}
		size, ok := known.entries[name]
		if !ok || name == pathsName {
			info, err := in.Lstat(name)
			if err != nil {
				continue
			}
			if size, err = h.sizeOf(ctx, dir+"/"+name, info); err != nil {
				return m, err
			}
		}
		m.entries[name] = size
		m.bytes += size
		if name != pathsName {
			m.count++
		}
	}
	h.rememberSize(dir, m)
	return m, nil
}

func (h *History) rememberSize(dir string, m measured) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sizes[dir] = m
}

// forgetSizes forgets the sizes of directories that do not exist any more.
func (h *History) forgetSizes() {
	dirs, err := h.hours()
	if err != nil {
		return
	}
	there := map[string]bool{}
	for _, dir := range dirs {
		there[dir] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.sizes, func(dir string, _ measured) bool { return !there[dir] })
	h.trash.Forget(h.volume.StatePath(volumes.HistoryPart), there)
}

// sizeOf returns the space that a name takes with all that is below it, in bytes, as far as it can be read.
func (s *disk) sizeOf(ctx context.Context, name string, info vfs.Info) (total int64, err error) {
	if info.Kind != vfs.Directory {
		return min(volumes.InBlocks(info.Size), volumes.InBlocks(info.Allocated)), nil
	}
	total = volumes.Block
	names, err := s.tree.Entries(name)
	if err != nil {
		return total, nil // the directory is gone, or this process may not list it
	}
	for _, base := range names {
		if ctx.Err() != nil {
			return total, ctx.Err()
		}
		member := name + "/" + base
		info, err := s.calls.Lstat(member)
		if err != nil {
			continue
		}
		size, err := s.sizeOf(ctx, member, info)
		if err != nil {
			return total, err
		}
		total += size
	}
	return total, nil
}

// HistorySize returns the space that the history of all volumes takes, in bytes: as it was measured last, which is when
// versions were last expired or made room, and that of the versions which have come since. It reads no disk. Where it
// would wait, known is false.
func (s *Histories) HistorySize() (bytes int64, known bool) {
	for _, h := range s.all() {
		if !h.mu.TryLock() {
			return 0, false
		}
		bytes += h.added
		for _, size := range h.sizes {
			bytes += size.bytes
		}
		h.mu.Unlock()
	}
	return bytes, true
}
