package shares

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// maxMembers bounds the members of a collection that is copied to another share: their names are kept in memory
// meanwhile.
const maxMembers = 100_000

// A member is a member of a collection that was copied, or the collection itself.
type member struct {
	collection bool
	tag        tree.ETag
	size       int64
	created    time.Time
	modified   time.Time
}

func memberOf(state tree.State) member {
	return member{state.Collection, state.Tag, state.Size, state.Created, state.Modified}
}

// A copier copies a collection to another share.
type copier struct {
	t      *transfer
	staged *staged
	copied map[string]member // by the name below the source
	// described are the properties of members that have some.
	described map[string]tree.State
}

// copy copies the collection.
func (c *copier) copy(ctx context.Context) error {
	all, err := c.list(ctx)
	if err != nil {
		return err
	}
	c.described = map[string]tree.State{}
	for _, state := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		rel := c.rel(state.Name)
		err := c.member(ctx, rel, state)
		if errors.Is(err, tree.ErrNotExist) && rel != "" && c.isGone(ctx, state.Name) {
			continue // it was removed since it was listed
		}
		if err != nil {
			return c.failedAt(state, err)
		}
	}
	return nil
}

// isGone reports whether a member of the source is not there any more.
func (c *copier) isGone(ctx context.Context, name string) bool {
	_, err := c.t.source.share.Store.Stat(ctx, name, tree.ReadOptions{TagDeadline: c.t.s.opts.Now()})
	return errors.Is(err, tree.ErrNotExist)
}

// rel returns the name of a member below the source.
func (c *copier) rel(inner string) string {
	return strings.TrimPrefix(strings.TrimPrefix(inner, c.t.source.inner), "/")
}

// list returns the resources to be copied, each collection before its members, without properties. It fails if there is
// not enough room for it.
func (c *copier) list(ctx context.Context) (all []tree.State, err error) {
	var size int64
	for state, err := range c.walk(ctx, 0) {
		switch {
		case err != nil && (state.Name == "" || c.rel(state.Name) == ""):
			return nil, c.t.source.share.told(err)
		case err != nil:
			return nil, c.failedAt(state, err)
		case state.Link:
			return nil, c.failedAt(state, errLink)
		case len(all) > maxMembers:
			return nil, errTooMany
		}
		all = append(all, state)
		size += state.Size
	}
	_, available, err := c.t.dest.share.quota(ctx, "")
	if err == nil && size > available {
		return nil, tree.ErrNoSpace
	}
	return all, nil
}

// walk lists the source, without its members if they are not copied.
func (c *copier) walk(ctx context.Context, want tree.Want) func(yield func(tree.State, error) bool) {
	opts := tree.ListOptions{Want: want, Depth: -1}
	if want&tree.WantTag == 0 {
		opts.TagDeadline = c.t.s.opts.Now()
	}
	if c.t.opts.Shallow {
		opts.Depth = 0
	}
	source := c.t.source
	return source.share.Store.List(ctx, source.inner, source.share.listing(source.inner, opts), tree.Condition{})
}

// failedAt returns the error at a member of the source. An error of the whole copy has no member.
func (c *copier) failedAt(state tree.State, err error) error {
	var told *tree.MemberError
	switch {
	case errors.As(err, &told), errors.Is(err, errAgain), errors.Is(err, tree.ErrNoSpace),
		errors.Is(err, tree.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &tree.MemberError{Name: c.t.source.share.outer(state.Name), Collection: state.Collection, Err: err}
}

// member copies a member, or the collection itself.
func (c *copier) member(ctx context.Context, rel string, listed tree.State) error {
	if listed.Collection {
		source, err := c.t.source.share.Store.Stat(ctx, listed.Name, tree.ReadOptions{Want: tree.WantProperties})
		if err != nil {
			return err
		}
		if !source.Collection {
			return errAgain
		}
		_, err = c.staged.sh.Store.Mkdir(ctx, c.staged.at(rel), tree.MkdirOptions{}, tree.Condition{})
		if err == nil {
			err = c.staged.describe(ctx, rel, source)
		}
		c.note(rel, source)
		return err
	}
	content, source, err := c.t.source.share.Store.Open(ctx, listed.Name,
		tree.ReadOptions{Want: tree.WantTag | tree.WantProperties}, tree.Condition{})
	if errors.Is(err, tree.ErrIsCollection) {
		err = errAgain
	}
	if err != nil {
		return err
	}
	defer content.Close()
	var modified time.Time
	if c.t.move {
		modified = source.Modified
	}
	c.note(rel, source)
	return c.staged.put(ctx, rel, content, source, modified)
}

func (c *copier) note(rel string, source tree.State) {
	c.copied[rel] = memberOf(source)
	if len(source.Properties) > 0 || source.Executable {
		c.described[rel] = tree.State{Properties: source.Properties, Executable: source.Executable}
	}
}

// unchanged fails with errAgain unless the source equals the copy. It returns the members it has found.
func (c *copier) unchanged(ctx context.Context) (map[string]member, error) {
	found := map[string]member{}
	for state, err := range c.walk(ctx, tree.WantTag|tree.WantProperties) {
		if err != nil {
			return nil, errAgain // it could be read a moment ago
		}
		rel := c.rel(state.Name)
		was, ok := c.copied[rel]
		same := ok && !state.Link && was.collection == state.Collection && was.tag == state.Tag &&
			sameProperties(state, c.described[rel])
		if !same {
			return nil, errAgain
		}
		found[rel] = memberOf(state)
	}
	if len(found) != len(c.copied) {
		return nil, errAgain
	}
	return found, nil
}

// verifyTime bounds the comparison after a removal: files may have to be read.
const verifyTime = time.Hour

// remove removes the collection that was moved. The history then shows the removed version. If that is another than the
// copied one, because something came into it at the last instant, the collection gets its name back.
func (c *copier) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), verifyTime)
	defer cancel()
	known, err := c.versions(ctx)
	if err != nil {
		return bothExist("its history cannot be read", err)
	}
	w := c.t.s.patches.watch(c.t.source)
	defer w.end()
	var before map[string]member
	err = w.quiet(func() (err error) {
		before, err = c.unchanged(ctx)
		return err
	})
	if err != nil {
		return c.t.stayed(err)
	}
	err = c.t.remove(ctx, func(now tree.State) error {
		if !now.Collection || now.Link || now.Through {
			return errAgain
		}
		return nil
	})
	if err != nil {
		return c.t.stayed(err)
	}
	after, err := c.versions(ctx)
	if err == nil {
		err = c.verify(ctx, known, after, before, w)
	}
	if err != nil && !errors.Is(err, tree.ErrUnsure) {
		err = &tree.StorageError{Kind: tree.ErrUnsure, Err: err, Hint: "it was moved; but the history does not show " +
			"whether something came into the source at the last instant; look there"}
	}
	return err
}

// versions returns the IDs of the former versions of the source that are collections, the oldest first.
func (c *copier) versions(ctx context.Context) (ids []string, err error) {
	source := c.t.source
	for v, err := range source.share.Store.Versions(ctx, source.inner, tree.VersionOptions{}) {
		if err != nil {
			return nil, err
		}
		if v.Name == source.inner && v.Collection {
			ids = append(ids, v.ID)
		}
	}
	return ids, nil
}

var errNotKept = errors.New("the history has not kept what was removed")

// verify compares the version that the removal has made with the copied one, and restores it if it is another. If
// others have removed the same name meanwhile, it is a version of theirs that is restored, perhaps, and none is lost.
func (c *copier) verify(
	ctx context.Context, known, after []string, before map[string]member, w *patchWatch,
) error {
	old := map[string]bool{}
	for _, id := range known {
		old[id] = true
	}
	made := 0
	for _, id := range after {
		if old[id] {
			continue
		}
		made++
		found := 1 // the collection itself
		same, err := c.compare(ctx, id, "", before, &found)
		if err != nil {
			return err
		}
		if same && found == len(before) && !w.seen() {
			continue
		}
		source := c.t.source
		opts := tree.RestoreOptions{NoOverwrite: true}
		if _, _, err = source.share.Store.Restore(ctx, id, source.inner, opts, tree.Condition{}); err != nil {
			return inHistory(err)
		}
		return bothExist("it has changed at the last instant", nil)
	}
	if made == 0 {
		return errNotKept
	}
	return nil
}

// compare compares the members of a version with those of the source right before its removal, and counts them.
func (c *copier) compare(
	ctx context.Context, id, rel string, before map[string]member, found *int,
) (same bool, err error) {
	versions := c.t.source.share.Store.Versions
	for v, err := range versions(ctx, c.t.source.inner, tree.VersionOptions{Inside: id}) {
		if err != nil {
			return false, err
		}
		_, base := tree.Split(v.Name)
		at := base
		if rel != "" {
			at = tree.Join(rel, base)
		}
		was, ok := before[at]
		if !ok && c.isSpecial(ctx, v) {
			continue
		}
		if *found++; !ok || was.collection != v.Collection || v.Link {
			return false, nil
		}
		if v.Collection {
			same, err = c.compare(ctx, v.ID, at, before, found)
		} else {
			same, err = c.isSame(ctx, v, was)
		}
		if !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

// isSpecial reports whether a version is something that is not served, such as a pipe. It is not copied, and stays in
// the history.
func (c *copier) isSpecial(ctx context.Context, v tree.Version) bool {
	if v.Collection || v.Link {
		return false
	}
	content, _, err := c.t.source.share.Store.OpenVersion(ctx, v.ID)
	if err == nil {
		content.Close()
	}
	return errors.Is(err, tree.ErrNotServed)
}

// isSame compares a file of a version with its state right before. A file that was replaced since has another time of
// creation, so that the others need not be read.
func (c *copier) isSame(ctx context.Context, v tree.Version, was member) (bool, error) {
	if v.Size != was.size {
		return false, nil
	}
	if !v.Created.IsZero() && v.Created.Equal(was.created) && v.Modified.Equal(was.modified) {
		return true, nil
	}
	if v.Tag != "" {
		return v.Tag == was.tag, nil
	}
	content, _, err := c.t.source.share.Store.OpenVersion(ctx, v.ID)
	if err != nil {
		return false, err
	}
	defer content.Close()
	tag, err := tagOf(content, v.Size)
	return tag == was.tag, err
}

// tagOf returns the tag of a content.
func tagOf(content io.ReaderAt, size int64) (tree.ETag, error) {
	sum := sha256.New()
	_, err := io.Copy(sum, io.NewSectionReader(content, 0, size))
	return tree.TagOf([sha256.Size]byte(sum.Sum(nil))), err
}
