package etagfs

import (
	"context"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/etagfs/copier"
	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// copyAlone is the size, in bytes, up to which a file is copied or hashed while the other writers of this process wait.
const copyAlone = 16 << 20

// Copy implements [tree.Store].
func (s *Store) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	c := s.newCopy()
	// The condition is asked before the work, before the history makes room for the copy, and again in the transaction.
	c.Ask = func() error {
		return s.try(ctx, func(v *view) error {
			if _, _, err := v.copyEnds(from, to, opts); err != nil {
				return failure.Of(err)
			}
			return v.ask(cond)
		})
	}
	defer c.Discard()
	scope := volumes.Scope{Changed: []string{to}, Seen: append(slices.Clip(cond.Names), from), Below: []string{to}}
	err = s.update(ctx, scope, func(alone bool) error {
		return s.prepareCopy(ctx, c, alone, from, to, opts)
	}, func(t *transaction) error {
		source, over, err := t.copyEnds(from, to, opts)
		if err != nil {
			return err
		}
		if err := t.ask(cond); err != nil {
			return err
		}
		if err := t.isCopyOf(c, from, source); err != nil {
			return err
		}
		created = !over.Exists()
		state, err = t.replace(to, over, copied(c, "COPY"))
		return err
	})
	return state, created, err
}

// replace commits a copy. RFC 4918 §9.8.4: the destination stays the same resource and keeps its lock. Former members
// do not stay, nor do their locks.
func (t *transaction) replace(name string, over vfs.Info, n newVersion) (state tree.State, err error) {
	locks, err := t.FateOf(name, "")
	if err != nil {
		return state, err
	}
	if n.quiet != nil && !n.quiet() {
		return state, failure.ErrWriter
	}
	defer t.s.asOneStep(name, locks)()
	info, err := t.commit(name, over, n)
	if err != nil {
		return state, err
	}
	state = t.s.stateOf(name, info, n.tag, shownFor(n.modified))
	return state, t.endLocks(locks, n.kind == vfs.Directory)
}

func (s *Store) newCopy() *copier.Copy { return &copier.Copy{Copier: s.copier} }

// prepareCopy stages a copy.
func (s *Store) prepareCopy(
	ctx context.Context, c *copier.Copy, alone bool, from, to string, opts tree.CopyOptions,
) error {
	c.Discard()
	if alone && s.takesLong(from) {
		return errStale
	}
	if err := c.Ask(); err != nil {
		return &refusal{err}
	}
	if err := c.Stage(ctx, from, to, opts); err != nil {
		return err
	}
	return readyCopy(c, to)
}

// readyCopy does for a staged copy what would take long under the lock.
func readyCopy(c *copier.Copy, to string) error {
	copied(c, "").lease()
	return failure.OfStaging(c.Staged.NoteReplaced(to))
}

// takesLong reports whether other writers must not wait for a copy of a name.
func (s *Store) takesLong(from string) bool {
	info, err := s.fs.Lstat(from)
	return err == nil && (info.Kind == vfs.Directory || info.Size > copyAlone)
}

// isCopyOf fails with errStale unless the copy is of the version that is at the source now. The Check was about that
// version.
func (t *transaction) isCopyOf(c *copier.Copy, from string, now vfs.Info) error {
	if now.Kind != c.Source.Kind || c.Source.Inode != 0 && !now.SameFile(c.Source) ||
		now.Kind == vfs.Regular && now.Fingerprint != c.Source.Fingerprint {
		return errStale
	}
	if decided, ok := t.tags[seen{from, now.Fingerprint}]; ok && decided != c.Tag {
		return errStale // a program was writing to the source
	}
	return nil
}

// copied returns a staged copy as a version to commit.
func copied(c *copier.Copy, cause string) newVersion {
	return newVersion{
		staged: c.Staged, kind: c.Source.Kind, tag: c.Tag, cause: cause, modified: c.Wanted, dated: c.Whole,
	}
}

// copyEnds looks at both ends of a copy, and fails if no copy is possible between them.
func (v *view) copyEnds(from, to string, opts tree.CopyOptions) (source, over vfs.Info, err error) {
	source, over, err = v.ends(from, to)
	switch {
	case err != nil:
	case source.Kind == vfs.Link || over.Kind == vfs.Link:
		err = vfs.ErrLink
	case over.Exists() && v.SameName(from, to):
		err = tree.ErrSame
	case over.Exists() && opts.NoOverwrite:
		err = tree.ErrExist
	}
	return source, over, err
}
