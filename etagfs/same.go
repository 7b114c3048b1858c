package etagfs

import (
	"context"
	"errors"
	"time"

	"ifmatch/etagfs/index"
	"ifmatch/fs"
	"ifmatch/tree"
)

// errOther says that a PUT would change something.
var errOther = errors.New("there is something else now")

// putSame leaves a file as it is where a PUT would replace it by the same bytes: that makes no new version, and all that
// is beside the content stays too. It reports false where there is something to change, and has done nothing then. The
// check decides all the same.
//
// What makes it the same is a tag that was known, or hashed, before the commit, and a look inside it that finds the
// version which has that tag. So nothing is hashed under the lock.
func (s *Store) putSame(ctx context.Context, name string, sums tree.Sums, size int64, modified time.Time, cond tree.Condition) (state tree.State, same bool, err error) {
	tag := sums.Tag()
	there, ok := s.isThere(ctx, name, tag, size)
	if !ok {
		return tree.State{}, false, nil
	}
	err = s.commit(ctx, func(v *view) error {
		over, err := v.target(name)
		if err != nil || over.Kind != fs.Regular || over.Fingerprint != there {
			return errOther
		}
		if err := v.ask(cond); err != nil {
			return err
		}
		if err := v.hold(name); err != nil {
			return err
		}
		if !modified.IsZero() {
			change := dateChange{s.change(name, over, nil), index.AsIs}
			if over, err = s.touch(name, over, modified, index.RecordOf(tag), change); err != nil {
				return errOther // a new version would have the time, because it would be ours
			}
		}
		s.keepSums(over, sums)
		state = s.stateOf(name, over, tag, shownFor(modified))
		return nil
	})
	if errors.Is(err, errOther) {
		return tree.State{}, false, nil
	}
	if err == nil {
		// A local program may have written it and never synced it.
		err = unsure(s.fs.SyncFile(name))
	}
	return state, true, err
}

// isThere reports whether a file has this content, and which version of it. It hashes a file of the same size, unless a
// program has it open for writing: what that one has yet to write would go by the same look.
func (s *Store) isThere(ctx context.Context, name string, tag tree.ETag, size int64) (fs.Fingerprint, bool) {
	info, err := s.fs.Lstat(name)
	if err != nil || info.Kind != fs.Regular || info.Size != size || info.Inode == 0 {
		return fs.Fingerprint{}, false
	}
	have, known := s.index.Tag(info.Fingerprint)
	if !known {
		if info, have, err = s.hash(ctx, name, hashing{rounds: 1, alone: true}); err != nil {
			return fs.Fingerprint{}, false
		}
	}
	return info.Fingerprint, have == tag
}

// touch sets the modification time of a file inside a commit, as [fs.FS.SetModified] does. What is known of the
// file stays known if a lease shows that no local program has written meanwhile, which the new time would hide.
func (s *Store) touch(name string, before fs.Info, modified time.Time, k index.Record, change dateChange) (fs.Info, error) {
	f, _, err := s.fs.Open(name)
	if err != nil {
		return before, err
	}
	if f == nil {
		return before, errOther
	}
	defer f.Close()
	lease, err := s.fs.Lease(f)
	if err == nil {
		defer lease.Release()
	}
	if now, err := s.fs.Refresh(f); err != nil || now.Fingerprint != before.Fingerprint {
		return before, errOther
	}
	after, err := s.fs.SetModified(name, before, modified, 0)
	if err != nil {
		return before, err
	}
	if lease != nil && lease.Held() && s.fs.AbilitiesOf(after).FineTimes {
		k.Dates = change.same(s.versionOf(after, k.Tag()))
		s.index.Put(after.Fingerprint, k)
	}
	return after, nil
}
