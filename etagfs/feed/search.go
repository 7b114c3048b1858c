package feed

import (
	"context"
	"errors"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// SearchAgain is the time between two searches for changes that were missed, where the first could not tell of them.
// Until one can, each condition on a cursor is false.
const SearchAgain = 10 * time.Second

// lookForMissed looks for changes that were missed, each time that there may be some.
func (f *Feed) lookForMissed(ctx context.Context) {
	d := &f.disk
	again := time.NewTimer(0)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.search:
		case <-again.C:
		}
		d.mu.Lock()
		lost := d.lost
		d.mu.Unlock()
		if !f.lookSince(ctx, f.journal.Seen()) {
			again.Reset(SearchAgain)
			continue
		}
		d.mu.Lock()
		d.found = lost
		d.mu.Unlock()
	}
}

// maxAgain is how many changes a search tells one by one. If there are more, all is to be listed again.
const maxAgain = 1 << 10

// lookSince tells of all collections that may have other members than at a time of the file system, and of all files
// that may have other content. It reports whether it could.
func (f *Feed) lookSince(ctx context.Context, since int64) bool {
	all := []sighting{f.again("")}
	root, err := f.FS.Lstat("")
	if since == 0 || err != nil || root.Changed >= since {
		return f.appendSeen(ctx, all)
	}
	var found []sighting
	left := []string{""}
	for len(left) > 0 && len(found) <= maxAgain {
		dir := left[len(left)-1]
		left = left[:len(left)-1]
		for members, err := range f.Reader.Members(dir, volumes.DirOptions{}).Batches(ctx) {
			if ctx.Err() != nil {
				return false
			}
			if err != nil && !errors.Is(failure.Of(err), tree.ErrNotExist) &&
				!errors.Is(err, failure.ErrNotCollection) {
				found = append(found, f.again(dir))
			}
			for _, m := range members {
				if len(found) > maxAgain {
					break // all is to be listed again
				}
				name := tree.Join(dir, m.Name)
				news := m.Err != nil || m.Changed >= since
				switch {
				case m.Kind == vfs.Directory && (news || m.Device != root.Device):
					found = append(found, f.again(name)) // another file system may have another clock
				case m.Kind == vfs.Directory:
					left = append(left, name)
				case news:
					found = append(found, f.seen(hint{name: name}))
				}
			}
		}
	}
	if len(found) > maxAgain {
		return f.appendSeen(ctx, all)
	}
	for some := range slices.Chunk(found, hintsAtOnce) {
		if !f.appendSeen(ctx, some) {
			return false
		}
	}
	return true
}

// again returns the change that says that a name is to be listed again.
func (f *Feed) again(name string) sighting {
	return sighting{Change: tree.Change{Name: name, Cause: tree.CauseDisk, Again: true, Time: f.Clock(),
		State: tree.State{Name: name, Exists: true, Collection: true}}}
}

// NoteSeen notes in the journal up to which time all changes on the disk are known, so that the next process has to
// look for later ones only. It must be called before the watcher ends.
func (f *Feed) NoteSeen(ctx context.Context) {
	if f == nil || !f.journal.Busy() || f.Unsettled() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, markPatience)
	defer cancel()
	at, err := f.diskTime(ctx)
	if err != nil || !f.AwaitDisk(ctx) || f.Unsettled() {
		return
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return
	}
	defer unlock()
	if err := f.journal.Mark(at); err != nil {
		f.Report(err)
	}
}

// clockName is a file that is written to ask the file system for the time.
const clockName = "clock"

// clockMargin is by how much the clock of a file system may be behind that of the program.
const clockMargin = 2 * time.Second

// clockTries and clockPause bound the wait for the next tick of the clock of the file system.
const (
	clockTries = 100
	clockPause = time.Millisecond
)

// diskTime returns a time of the file system that is later than the times of all changes before the call, in
// nanoseconds since 1970.
func (f *Feed) diskTime(ctx context.Context) (int64, error) {
	if f.FS.ReadOnly() {
		return time.Now().Add(-clockMargin).UnixNano(), nil
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return 0, err
	}
	file, err := f.dir.Append(clockName)
	unlock()
	if err != nil {
		return 0, err
	}
	defer file.Close()
	read := func() (int64, error) {
		if err := file.Truncate(0); err != nil {
			return 0, err
		}
		if _, err := file.Write([]byte("\n")); err != nil {
			return 0, err
		}
		info, err := file.Stat()
		return info.Modified, err
	}
	first, err := read()
	now := first
	for tries := 0; err == nil && now == first && tries < clockTries; tries++ {
		time.Sleep(clockPause)
		now, err = read()
	}
	return now, err
}
