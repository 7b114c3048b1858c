package etagfs

import (
	"context"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// stampSlack is how far the time stamps of a file system can be behind the clock. A time stamp is the time of the last
// tick of the clock.
const stampSlack = 20 * time.Millisecond

// versionOf describes a version as [index.Dates] needs it.
func (s *Store) versionOf(info vfs.Info, tag tree.ETag) index.Version {
	v := index.Version{Of: info.Fingerprint, Tag: tag, Modified: info.ModTime().Unix()}
	v.Mounted = info.Mount != s.root.Mount
	v.Traced = s.fs.AbilitiesOf(info).ExchangeTimes
	coarse := stampSlack
	if able := s.fs.AbilitiesOf(info); !able.FineTimes && !able.Exclusive {
		coarse = hashing.SettledCoarse
		v.Vague = s.hasher.UntilSettled(info) > 0
	}
	if info.Changed != 0 {
		v.Changed = time.Unix(0, info.Changed).Add(coarse).Unix()
	}
	return v
}

// shownFor returns how the modification time of a version is shown that a client has written. asked is the time that
// this client has asked for, or zero.
func shownFor(asked time.Time) index.Showing { return index.Showing(!asked.IsZero()) }

// stateOf makes a State, to be shown to a client, from a look inside a commit.
func (s *Store) stateOf(name string, info vfs.Info, tag tree.ETag, how index.Showing) tree.State {
	state := s.bareState(name, info, tag)
	if info.Kind == vfs.Regular {
		s.dates.Show(name, s.versionOf(info, tag), how, always, s.around(name))
	}
	return state
}

// stateAt is [Store.stateOf] with a look that was taken in a snapshot. It fails with snapshots.ErrMoved if the look is
// not valid any more.
func (s *Store) stateAt(
	at *volumes.Snapshot, name string, info vfs.Info, tag tree.ETag, how index.Showing,
) (tree.State, error) {
	state := s.bareState(name, info, tag)
	if !at.Valid() ||
		info.Kind == vfs.Regular && !s.dates.Show(name, s.versionOf(info, tag), how, at.Valid, s.around(name)) {
		return state, snapshots.ErrMoved
	}
	return state, nil
}

// datePatience is how long an answer waits to find out whether a name still has a version. If it takes longer, the date
// counts as one of an earlier version, and proves nothing.
const datePatience = time.Second

// stateOfEarlier is [Store.stateOf] with a look that was taken some time ago, such as before a hash.
func (s *Store) stateOfEarlier(
	ctx context.Context, name string, info vfs.Info, tag tree.ETag, how index.Showing,
) tree.State {
	state := s.bareState(name, info, tag)
	v := s.versionOf(info, tag)
	if info.Kind != vfs.Regular || s.dates.Show(name, v, how, nil, s.around(name)) {
		return state
	}
	shown := false
	ctx, cancel := context.WithTimeout(ctx, datePatience)
	defer cancel()
	err := s.reader.Read(ctx, func(at *volumes.Snapshot) error {
		now, err := at.Stat(name)
		if err == nil && now.Fingerprint == info.Fingerprint && at.Valid() {
			shown = s.dates.Show(name, v, how, at.Valid, s.around(name))
		}
		return err
	})
	if err != nil || !shown {
		s.dates.Outdated(name, v, how)
	}
	return state
}

func (s *Store) bareState(name string, info vfs.Info, tag tree.ETag) tree.State {
	state := tree.State{
		Resolved:   resolvedName(&info),
		Name:       name,
		Exists:     true,
		Collection: info.Kind == vfs.Directory,
		Link:       info.Linked,
		Tag:        tag,
		Size:       info.Size,
		Modified:   modified(info),
		Created:    info.BirthTime(),
		Executable: info.Kind == vfs.Regular && info.Mode&0o111 != 0,
	}
	if info.Kind == vfs.Regular && info.ModTime().Unix() <= s.now().Unix() {
		state.LastModified = state.Modified
	}
	return state
}

// resolvedName is the Resolved of a [tree.State].
func resolvedName(info *vfs.Info) *string {
	if !info.Followed {
		return nil
	}
	return new(info.At)
}

// modified is the modification time of a [tree.State].
func modified(info vfs.Info) time.Time {
	t := time.Unix(info.ModTime().Unix(), 0)
	if t.IsZero() {
		t = t.Add(1) // the first second of the year 1, because the zero Time is an unknown time
	}
	return t
}

// dates are the [tree.Dates] of a version that was seen at a name. Each answer is found out when a caller asks for it.
type dates struct {
	s       *Store
	name    string
	version index.Version
}

// Proves implements [tree.Dates].
func (d dates) Proves(date time.Time) tree.Truth {
	return d.s.dates.Range(d.name, d.version, d.s.around(d.name)).Proves(date)
}

// dated adds the dates of a version to its State, as far as they are known.
func (s *Store) dated(state tree.State, info vfs.Info) tree.State {
	if info.Kind == vfs.Regular {
		state.Dates = dates{s, state.Name, s.versionOf(info, state.Tag)}
	}
	return state
}

// maxAround bounds how many collections on the way to a name are looked at for a date.
const maxAround = 16

// around returns a function that looks at the collections on the way to a name.
func (s *Store) around(name string) func() index.Around {
	return func() (found index.Around) {
		parent, _ := tree.Split(name)
		for depth, dir := 0, parent; ; depth++ {
			info, err := s.fs.Lstat(dir)
			if err != nil || info.Kind != vfs.Directory || depth > maxAround {
				return index.Around{}
			}
			if dir == parent {
				found.Parent = info.Changed
			}
			if dir != "" || !s.fs.AbilitiesOf(info).ExchangeTimes {
				found.Moved = max(found.Moved, info.Changed)
			}
			if found.Sure = dir == ""; found.Sure {
				return found
			}
			dir, _ = tree.Split(dir)
		}
	}
}

// change begins a change of the resource at a name, inside a commit. staged is the version that is about to come there,
// or nil if it was not staged. how is the way in which the date of that version is shown.
func (s *Store) change(name string, over vfs.Info, how index.Showing, staged *fs.Staged) *index.Change {
	var there *index.Version
	if over.Kind == vfs.Regular {
		s.hasher.MeetUnknown(name, over)
		tag, _ := s.index.Tag(over.Fingerprint)
		there = new(s.versionOf(over, tag))
	}
	return s.dates.Begin(name, there, how, s.around(name), func() int64 {
		if staged == nil {
			return 0
		}
		info, err := staged.Info()
		if err != nil {
			return 0
		}
		return info.Changed
	})
}
