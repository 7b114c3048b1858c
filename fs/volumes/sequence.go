package volumes

import (
	"context"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A sequence is the sequence number of the names on one file system. The number is odd from before the first rename of
// a commit until after the last one. If a reader finds the number even, and finds it unchanged after its looks, it has
// seen no name in the middle of a commit, and no version that was taken back. The reader needs no lock for that, and no
// commit waits for the reader.
//
// Only the commits of this process count. Readers see a commit of another process as they see the changes of local
// programs.
type sequence struct {
	number atomic.Uint64

	mu    sync.Mutex    // never held across a system call
	open  int           // how many commits, and renames outside of a commit, have not ended
	ended chan struct{} // closed when the number becomes even (nil: no reader waits)
}

// commit opens a commit. The first rename in it makes the number odd. The number becomes even again when all open
// commits have ended. end may be called again.
func (q *sequence) commit() (end func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open++
	ended := false
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if ended {
			return
		}
		ended = true
		if q.open--; q.open > 0 || q.number.Load()%2 == 0 {
			return
		}
		q.number.Add(1)
		if q.ended != nil {
			close(q.ended)
			q.ended = nil
		}
	}
}

// rename makes the number odd until end is called, or until the open commit ends.
func (q *sequence) rename() (end func()) {
	end = q.commit()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.number.Load()%2 == 0 {
		q.number.Add(1)
	}
	return end
}

// even waits until the number is even, and returns it. It fails with ErrBusy after the timeout.
func (q *sequence) even(ctx context.Context, timeout <-chan time.Time) (uint64, error) {
	for {
		n := q.number.Load()
		if n%2 == 0 {
			return n, nil
		}
		select {
		case <-q.end():
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-timeout:
			return 0, vfs.ErrBusy
		}
	}
}

// end returns a channel that is closed when the number is even.
func (q *sequence) end() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.number.Load()%2 == 0 {
		now := make(chan struct{})
		close(now)
		return now
	}
	if q.ended == nil {
		q.ended = make(chan struct{})
	}
	return q.ended
}

// Committing begins a commit on a volume. Readers see the commit as one step, from the first change of a user's name
// until end is called. A commit may be inside another one.
func (v *Volume) Committing() (end func()) { return v.names.commit() }

// Rename, RenameNew and Exchange are the methods of [Place] for names.
func (v *Volume) Rename(from, to string) error    { return v.t.At(from).Rename(v.t.At(to)) }
func (v *Volume) RenameNew(from, to string) error { return v.t.At(from).RenameNew(v.t.At(to)) }
func (v *Volume) Exchange(a, b string) error      { return v.t.At(a).Exchange(v.t.At(b)) }

// OneStep makes readers see all changes at a name, and the changes that go with them, as one step, from the first
// change of a name until end is called. It must be called under [Tree.Lock].
func (s *Tree) OneStep(name string) (end func()) {
	return together(append(s.MayHold(Local(name)), s.mayHaveEntry(Local(name))...), (*sequence).commit)
}

// Changing makes readers see all changes at a name, and the changes that go with them, as one step, until end is
// called. It must be called under [Tree.Lock].
func (s *Tree) Changing(name string) (end func()) {
	return together(s.MayHold(Local(name)), (*sequence).rename)
}

// IsChanging reports whether a commit is under way on a volume on which a name may be, so that readers of the name
// wait.
func (s *Tree) IsChanging(name string) bool {
	return slices.ContainsFunc(s.MayHold(Local(name)), func(v *Volume) bool { return v.names.number.Load()%2 != 0 })
}

// together begins a change of some volumes, and ends it for all of them.
func together(volumes []*Volume, begin func(*sequence) func()) (end func()) {
	if len(volumes) > 0 {
		first := volumes[0].names
		if !slices.ContainsFunc(volumes[1:], func(v *Volume) bool { return v.names != first }) {
			return begin(first)
		}
	}
	var ends []func()
	for i, v := range volumes {
		if !slices.ContainsFunc(volumes[:i], func(w *Volume) bool { return w.names == v.names }) {
			ends = append(ends, begin(v.names))
		}
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

// MayHold returns the volumes on which the file or directory with a name may be: the lowest volume that the name is in
// as it is spelled, and each volume further down that some file system may take the name to be in. It goes by the name
// alone. A file system above may take "M" for its directory "m", where the volume is, or may have another directory
// "M" beside it. A reader of such a name compares the numbers of all these volumes, see Snapshot.pass, but a reader of
// the directory above compares that of the volume above alone.
func (s *Tree) MayHold(name string) []*Volume {
	all := *s.below.Load()
	if len(all) == 0 {
		return s.root.itself[:1:1]
	}
	lowest := s.root
	for _, v := range all {
		if vfs.IsIn(name, v.Top) && (lowest == s.root || len(v.Top) > len(lowest.Top)) {
			lowest = v
		}
	}
	volumes := []*Volume{lowest}
	for _, v := range all {
		if v != lowest && !vfs.IsIn(name, v.Top) && MayBeIn(name, v.Top) {
			volumes = append(volumes, v)
		}
	}
	return volumes
}

// mayHaveEntry returns the volumes on which the directory entry of a name may be.
func (s *Tree) mayHaveEntry(name string) []*Volume { return s.MayHold(path.Dir(name)) }
