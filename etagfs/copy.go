package etagfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// copyAlone is the size, in bytes, up to which a file is copied or hashed while the other writers of this process wait.
const copyAlone = 16 << 20

// Copy implements [tree.Store].
func (s *Store) Copy(ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition) (state tree.State, created bool, err error) {
	c := &copier{s: s}
	// The condition is asked before the work, before the history makes room for the copy, and again in the transaction.
	c.ask = func() error {
		return s.try(ctx, func(v *view) error {
			if _, _, err := v.copyEnds(from, to, opts); err != nil {
				return failure.Of(err)
			}
			return v.ask(cond)
		})
	}
	defer c.discard()
	scope := fs.Scope{Changed: []string{to}, Seen: append(slices.Clip(cond.Names), from), Below: []string{to}}
	err = s.update(ctx, scope, func(alone bool) error {
		return c.prepare(ctx, alone, from, to, opts)
	}, func(t *transaction) error {
		source, over, err := t.copyEnds(from, to, opts)
		if err != nil {
			return err
		}
		if err := t.ask(cond); err != nil {
			return err
		}
		if err := c.isOf(t, from, source); err != nil {
			return err
		}
		created = !over.Exists()
		locks, err := t.fateOf(to, "")
		if err != nil {
			return err
		}
		defer s.asOneStep(to, locks)()
		info, err := t.commit(to, over, c.version("COPY"))
		if err != nil {
			return err
		}
		state = s.stateOf(to, info, c.tag, shownFor(c.wanted))
		// RFC 4918 §9.8.4: the destination stays the same resource and keeps its lock. Former members do not stay, nor
		// do their locks.
		return t.endLocks(locks, source.Kind == fs.Directory)
	})
	return state, created, err
}

// prepare stages a copy.
func (c *copier) prepare(ctx context.Context, alone bool, from, to string, opts tree.CopyOptions) (err error) {
	c.discard()
	if alone && c.takesLong(from) {
		return errStale
	}
	if err := c.ask(); err != nil {
		return &refusal{err}
	}
	stage := c.stage
	if c.copied != nil {
		stage = c.stageWhole
	}
	if c.staged, c.source, c.tag, err = stage(ctx, from, to, opts); err == nil {
		c.version("").lease()
	}
	return err
}

// takesLong reports whether other writers must not wait for a copy of a name.
func (c *copier) takesLong(from string) bool {
	info, err := c.s.fs.Lstat(from)
	return err == nil && (info.Kind == fs.Directory || info.Size > copyAlone)
}

// isOf fails with errStale unless the copy is of the version that is at the source now. The Check was about that
// version.
func (c *copier) isOf(t *transaction, from string, now fs.Info) error {
	if now.Kind != c.source.Kind || c.source.Inode != 0 && !now.SameFile(c.source) ||
		now.Kind == fs.Regular && now.Fingerprint != c.source.Fingerprint {
		return errStale
	}
	if decided, ok := t.tags[seen{from, now.Fingerprint}]; ok && decided != c.tag {
		return errStale // a program was writing to the source
	}
	return nil
}

// version returns the staged copy as a version to commit.
func (c *copier) version(cause string) newVersion {
	return newVersion{
		staged: c.staged, kind: c.source.Kind, tag: c.tag, cause: cause, modified: c.wanted, dated: c.copied != nil,
	}
}

// discard removes the staged copy, unless it is committed.
func (c *copier) discard() {
	if c.staged != nil {
		c.s.discard(c.staged)
		c.staged = nil
	}
}

// copyEnds looks at both ends of a copy, and fails if no copy is possible between them.
func (v *view) copyEnds(from, to string, opts tree.CopyOptions) (source, over fs.Info, err error) {
	source, over, err = v.ends(from, to)
	switch {
	case err != nil:
	case source.Kind == fs.Link || over.Kind == fs.Link:
		err = fs.ErrLink
	case over.Exists() && v.SameName(from, to):
		err = tree.ErrSame
	case over.Exists() && opts.NoOverwrite:
		err = tree.ErrExist
	}
	return source, over, err
}

// A copier stages a copy of a file or a tree.
type copier struct {
	s        *Store
	ask      func() error // fails if the copy is not to be made any more. If it is nil, the copy is made.
	to       string       // the name that the copy is to have
	files    int          // in the tree so far
	behind   bool         // some members are not synced one by one, but with the rest of the disk at the end
	searches int          // how many, for collections that were renamed
	shallow  bool         // a version that is a collection is staged without its members
	staged   *fs.Staged   // the copy
	source   fs.Info      // the look at the source of the copy
	tag      tree.ETag    // of a file
	// wanted is the modification time that the copy got because a client wants it. It is zero if the disk keeps no such
	// time.
	wanted time.Time

	// copied, if not nil, gets the fingerprints of the copied members, by their names in the tree. The copy is then to
	// take the place of the source, and keeps its times.
	copied map[string]fs.Fingerprint
}

const (
	// maxSyncedAlone is how many files of a tree are synced one by one. Each sync takes the disk a moment. If there are
	// more files, one sync writes all data that waits to be written to the disk.
	maxSyncedAlone = 16
	// minCloned is the size, in bytes, from which the kernel copies a file. A smaller file is read, and hashed at the
	// same time.
	minCloned = 64 << 10
)

// stage stages the copy. It returns the look at the source of which the copy was made, and the tag if the source is a
// file.
func (c *copier) stage(ctx context.Context, from, to string, opts tree.CopyOptions) (*fs.Staged, fs.Info, tree.ETag, error) {
	c.to = to
	info, err := c.s.reader.Look(ctx, from, nil)
	if err != nil {
		return nil, fs.Info{}, "", err
	}
	if info.Kind == fs.Regular {
		staged, err := c.s.fs.StageFor(ctx, c.need(ctx, to, func() (int64, error) { return takes(info), nil }))
		if err != nil {
			return nil, fs.Info{}, "", stagingFailed(err)
		}
		info, tag, err := c.file(ctx, from, staged)
		if err == nil && tag == "" {
			// The answer has the tag. The staged file is as good to hash as its source, and no program writes to the
			// staged file.
			tag, err = c.s.hashStaged(ctx, staged, info.Size)
		}
		if err == nil {
			c.wanted, err = staged.TrySetModified(opts.Modified)
		}
		if err == nil {
			err = staged.Sync()
		}
		if err != nil {
			c.s.discard(staged)
			return nil, fs.Info{}, "", err
		}
		return staged, info, tag, nil
	}
	staged, err := c.s.fs.StageDir(ctx, c.need(ctx, to, func() (int64, error) { return c.total(ctx, from, opts.Shallow) }))
	if err != nil {
		return nil, fs.Info{}, "", stagingFailed(err)
	}
	if !opts.Shallow {
		err = c.members(ctx, from, ".", staged)
	}
	if err == nil {
		err = c.inherit(from, staged, info) // after its members, because its permissions may not let members in
	}
	if err == nil {
		c.wanted, err = staged.TrySetModified(opts.Modified)
	}
	if err == nil && c.behind {
		err = staged.SyncAll()
	} else if err == nil {
		err = staged.Sync()
	}
	if err != nil {
		c.s.discard(staged)
		return nil, fs.Info{}, "", err
	}
	return staged, info, "", nil
}

// need describes a copy before it is made. Content that the copy can share with the source takes no room.
func (c *copier) need(ctx context.Context, to string, measure func() (int64, error)) fs.Need {
	return fs.Need{Name: to, Client: tree.ClientOf(ctx), Measure: measure, Ask: c.ask}
}

// takes returns how many bytes of a file must be copied. Holes are not copied.
func takes(info fs.Info) int64 {
	if info.Kind != fs.Regular {
		return 0
	}
	return min(info.Size, info.Allocated)
}

// total returns how many bytes of a collection must be copied. It has one collection open at a time, however deep the
// tree is.
func (c *copier) total(ctx context.Context, from string, shallow bool) (sum int64, err error) {
	if shallow {
		return 0, nil
	}
	sum, below, err := c.totalButCollections(ctx, from)
	if err != nil {
		return 0, err
	}
	for _, base := range below {
		more, err := c.total(ctx, tree.Join(from, base), false)
		if err != nil && !errors.Is(failure.Of(err), tree.ErrNotExist) {
			return 0, err
		}
		sum += more
	}
	return sum, nil
}

// totalButCollections is total without the collections among the members. It returns the names of these collections.
func (c *copier) totalButCollections(ctx context.Context, from string) (sum int64, below []string, err error) {
	for members, err := range c.s.reader.Members(from, fs.DirOptions{}).Batches(ctx) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, nil, err
		}
		for _, m := range members {
			sum += takes(m.Info)
			if m.Err == nil && m.Kind == fs.Directory {
				below = append(below, m.Name)
			}
		}
	}
	return sum, below, nil
}

// file copies the content of a file, and its traits. It returns the look at the source to which the copy belongs, and
// the tag if it is known.
func (c *copier) file(ctx context.Context, from string, staged *fs.Staged) (fs.Info, tree.ETag, error) {
	f, info, err := c.s.reader.Open(ctx, from)
	if err != nil {
		return fs.Info{}, "", err
	}
	if f == nil {
		return fs.Info{}, "", errStale // it is a collection now
	}
	defer f.Close()
	tag, err := c.content(ctx, f, info, staged)
	traits, again, failed := c.s.fs.TraitsOf(f)
	switch {
	case errors.Is(failed, fs.ErrMoved):
		return fs.Info{}, "", errStale
	case failed != nil:
		return fs.Info{}, "", failed
	case again.Fingerprint != info.Fingerprint:
		return fs.Info{}, "", errStale
	case err != nil:
		return fs.Info{}, "", err
	}
	return info, tag, staged.Annotate(fs.Meta{Modified: c.modified(info), Traits: traits})
}

// content copies the content of an open file. It returns the tag of the version that the look has found, if the tag is
// known. So a second look must find this version unchanged.
func (c *copier) content(ctx context.Context, f *fs.File, info fs.Info, staged *fs.Staged) (tree.ETag, error) {
	if info.Size >= minCloned {
		// If the index knows the tag only after the clone, a program may have written to the file in between.
		tag, _ := c.s.index.Tag(info.Fingerprint)
		n, err := staged.Clone(ctx, f, info.Size)
		if err == nil && n < info.Size {
			err = errStale
		}
		if err == nil {
			return tag, nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return "", err
		}
	}
	return c.read(ctx, f, info.Size, staged)
}

// read copies the content of an open file by reading it. Holes stay holes, and are not read.
func (c *copier) read(ctx context.Context, f *fs.File, size int64, staged *fs.Staged) (tree.ETag, error) {
	hash := sha256.New()
	to := io.MultiWriter(staged, hash)
	for at := int64(0); at < size; {
		from, end := c.s.fs.NextData(f, at, size)
		if from > at {
			if err := staged.Skip(from); err != nil {
				return "", err
			}
			if _, err := hashing.CopyBody(ctx, hash, io.LimitReader(zeros{}, from-at)); err != nil {
				return "", hashing.OurFault(err)
			}
		}
		n, err := hashing.CopyBody(ctx, to, io.NewSectionReader(hashing.ReaderOf(c.s.fs, f), from, end-from))
		if err != nil {
			return "", hashing.OurFault(err)
		}
		if n < end-from {
			return "", errStale // it has become shorter
		}
		at = end
	}
	return tree.TagOf([sha256.Size]byte(hash.Sum(nil))), nil
}

// zeros reads the zero bytes of a hole.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// hashStaged returns the tag of a staged file.
func (s *Store) hashStaged(ctx context.Context, staged *fs.Staged, size int64) (tree.ETag, error) {
	hash := sha256.New()
	_, err := hashing.CopyBody(ctx, hash, io.NewSectionReader(staged, 0, size))
	return tree.TagOf([sha256.Size]byte(hash.Sum(nil))), hashing.OurFault(err)
}

// inherit gives a staged collection the traits of its source, and the modification time if the copy keeps times.
func (c *copier) inherit(from string, staged *fs.Staged, info fs.Info) error {
	traits, err := c.s.fs.Traits(from)
	if err != nil {
		return err
	}
	return staged.Annotate(fs.Meta{Modified: c.modified(info), Traits: traits})
}

// modified returns the modification time that a copy is to have. If it is zero, the time is left as it is.
func (c *copier) modified(info fs.Info) time.Time {
	if c.copied == nil {
		return time.Time{}
	}
	return info.ModTime()
}
