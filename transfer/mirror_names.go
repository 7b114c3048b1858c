package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	iofs "io/fs"
	"os"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// take makes the names of a change as they are in the store now.
func (m *Mirror) take(ctx context.Context, c tree.Change) error {
	for _, name := range []string{c.From, c.Name} {
		if name == "" && !c.Again {
			continue
		}
		do := m.shallow
		if c.Deep() {
			do = m.deep
		}
		if err := do(ctx, name); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return nil
}

func (m *Mirror) stat(ctx context.Context, name string) (tree.State, error) {
	s, err := m.From.Stat(ctx, name, tree.ReadOptions{Want: tree.WantTag})
	if errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrReserved) {
		return tree.State{Name: name}, nil
	}
	return s, err
}

// shallow makes a name as it is in the store, and lets the members of a collection be.
func (m *Mirror) shallow(ctx context.Context, name string) error {
	s, err := m.stat(ctx, name)
	if err != nil {
		return err
	}
	_, err = m.ensure(ctx, s)
	return err
}

// deep makes a name as it is in the store, with all below it.
func (m *Mirror) deep(ctx context.Context, name string) error {
	s, err := m.stat(ctx, name)
	if err != nil {
		return err
	}
	entered, err := m.ensure(ctx, s)
	if err != nil || !entered {
		return err
	}
	return m.members(ctx, name)
}

// errClosed says that something in the directory is closed to the mirror. It belongs to somebody else.
var errClosed = errors.New("it cannot be looked at, or changed")

// closed returns the error of a call about something in the directory.
func closed(err error) error {
	if errors.Is(err, iofs.ErrPermission) {
		return fmt.Errorf("%w: %w", errClosed, err)
	}
	return err
}

// ensure makes the name of a state as the state says, and leaves one that is closed. entered says that it is a directory
// now.
func (m *Mirror) ensure(ctx context.Context, s tree.State) (entered bool, err error) {
	if entered, err = m.become(ctx, s); errors.Is(err, errClosed) {
		m.left(s.Name, "stays: "+err.Error())
		return false, nil
	}
	return entered, err
}

func (m *Mirror) become(ctx context.Context, s tree.State) (entered bool, err error) {
	if tree.Within(s.Name, MirrorState) {
		if s.Exists {
			m.left(s.Name, "has the name of the state of the mirror")
		}
		return false, nil
	}
	for i := range s.Name {
		if s.Name[i] != '/' {
			continue
		}
		if ok, err := m.above(ctx, s.Name[:i], s.Exists); err != nil || !ok {
			return false, err
		}
	}
	if !s.Exists {
		_, err := m.remove(ctx, s.Name)
		return false, err
	}
	if s.Collection {
		return m.directory(ctx, s.Name)
	}
	return false, m.file(ctx, s)
}

// A look is the result of looking at a name in the directory.
type look struct {
	info iofs.FileInfo // nil: nothing is there
	mark mark          // the zero value where the mirror has not made it
}

func (m *Mirror) look(name string) (l look, err error) {
	l.info, err = m.root.Lstat(local(name))
	if errors.Is(err, iofs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return look{}, nil
	}
	if err == nil && (l.info.IsDir() || l.info.Mode().IsRegular()) {
		l.mark, err = m.readMark(name, l.info)
	}
	return l, closed(err)
}

// above reports whether a directory is above a name. It makes one for a name that is to be there. A link is none.
func (m *Mirror) above(ctx context.Context, dir string, wanted bool) (bool, error) {
	if wanted {
		return m.directory(ctx, dir)
	}
	l, err := m.look(dir)
	return l.info != nil && l.info.IsDir(), err
}

// directory makes a directory. ok is false if something else is in its place.
func (m *Mirror) directory(ctx context.Context, name string) (ok bool, err error) {
	if name == "" {
		return true, nil
	}
	l, err := m.look(name)
	if err != nil || l.info != nil && l.info.IsDir() {
		return err == nil, err
	}
	if l.info != nil {
		if gone, err := m.remove(ctx, name); err != nil || !gone {
			return false, err
		}
	}
	if err := m.root.Mkdir(name, 0o755); err != nil {
		return m.impossible(name, err)
	}
	if err := m.mark(name, mark{}); err != nil {
		return false, errors.Join(err, m.root.Remove(name))
	}
	return true, m.changed(name)
}

// impossible reports a name that the disk does not take, and returns other errors.
func (m *Mirror) impossible(name string, err error) (bool, error) {
	if isBadName(err) {
		m.left(name, "is not possible on this disk: "+err.Error())
		return false, nil
	}
	return false, closed(err)
}

// file makes a file the version of a state.
func (m *Mirror) file(ctx context.Context, s tree.State) error {
	l, err := m.look(s.Name)
	switch {
	case err != nil:
		return err
	case l.info == nil:
	case l.mark.of(l.info) && l.mark.Tag == s.Tag && l.info.Mode()&0o100 != 0 == s.Executable &&
		l.info.ModTime().Unix() == s.Modified.Unix():
		return nil
	case l.info.IsDir() || !l.mark.of(l.info):
		if gone, err := m.remove(ctx, s.Name); err != nil || !gone {
			return err
		}
		l.info = nil
	}
	err = m.fetch(ctx, s.Name, l.info != nil)
	if errors.Is(err, tree.ErrFailed) { // this content alone is lost
		m.left(s.Name, "cannot be read: "+err.Error())
		return nil
	}
	return err
}

// fetch writes the version that a name has now. A reader of the directory sees the version before or this one, whole.
func (m *Mirror) fetch(ctx context.Context, name string, replace bool) (err error) {
	content, s, err := m.From.Open(ctx, name, tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
	if errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrIsCollection) {
		return nil // it has changed meanwhile, and the feed says so
	}
	if err != nil {
		return err
	}
	defer content.Close()
	m.files++
	temporary := fmt.Sprint(MirrorState, "/", m.files)
	f, err := m.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(m.root.Remove(temporary)))
		}
	}()
	err = m.write(ctx, f, content, s)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if replace {
		err = m.root.Rename(temporary, name)
	} else if err = m.root.Link(temporary, name); err == nil { // it must not replace a file that has come meanwhile
		err = m.root.Remove(temporary)
	}
	if errors.Is(err, iofs.ErrExist) {
		m.left(name, "has come here meanwhile")
		return ignoreMissing(m.root.Remove(temporary))
	}
	if err != nil {
		_, impossible := m.impossible(name, err)
		return errors.Join(impossible, ignoreMissing(m.root.Remove(temporary)))
	}
	m.done.Fetched++
	m.done.Bytes += s.Size
	return m.changed(name)
}

func ignoreMissing(err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	return err
}

// write writes a content to a new file, and marks it.
func (m *Mirror) write(ctx context.Context, f *os.File, content tree.Content, s tree.State) error {
	sum := sha256.New()
	if _, err := content.WriteRange(ctx, io.MultiWriter(f, sum), 0, s.Size); err != nil {
		return err
	}
	if tag := tree.TagOf([32]byte(sum.Sum(nil))); tag != s.Tag {
		return fmt.Errorf("%q has arrived with the tag %s in place of %s: %w", s.Name, tag, s.Tag, tree.ErrFailed)
	}
	if err := os.Chtimes(f.Name(), time.Time{}, s.Modified); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := m.markFile(f, markOf(m.state.ID, info, s.Tag)); err != nil {
		return err
	}
	mode := iofs.FileMode(0o444)
	if s.Executable {
		mode = 0o555
	}
	return errors.Join(f.Chmod(mode), f.Sync())
}

// remove removes all that the mirror has made at a name and below it, and reports whether nothing is left there.
func (m *Mirror) remove(ctx context.Context, name string) (gone bool, err error) {
	l, err := m.look(name)
	switch {
	case err != nil || ctx.Err() != nil:
		return false, errors.Join(err, ctx.Err())
	case l.info == nil:
		return true, nil
	case l.info.IsDir():
		return m.removeDirectory(ctx, name, l)
	case l.mark.ID == "":
		m.left(name, "was not made by the mirror, and stays")
		return false, nil
	case !l.mark.of(l.info):
		m.left(name, "was changed here, and stays: remove it to get that of the tree")
		return false, nil
	}
	if err := m.root.Remove(name); err != nil {
		return false, closed(err)
	}
	m.done.Removed++
	return true, m.changed(name)
}

func (m *Mirror) removeDirectory(ctx context.Context, name string, l look) (gone bool, err error) {
	empty := true
	err = m.each(name, func(base string) error {
		gone, err := m.remove(ctx, tree.Join(name, base))
		empty = empty && gone
		return err
	})
	if errors.Is(err, errClosed) {
		m.left(name, "stays: "+err.Error())
		return false, nil
	}
	if err != nil || !empty {
		return false, err
	}
	if l.mark.ID == "" {
		m.left(name, "was not made by the mirror, and stays")
		return false, nil
	}
	if err := m.root.Remove(name); err != nil {
		m.left(name, "stays: "+err.Error())
		return false, nil
	}
	m.done.Removed++
	return true, m.changed(name)
}

// each calls do with the members of a directory.
func (m *Mirror) each(dir string, do func(base string) error) error {
	f, err := m.root.Open(local(dir))
	if err != nil {
		return closed(err)
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(readAtOnce)
		for _, base := range names {
			if err := do(base); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// members makes all below a directory as it is in the store. Names in memory are those of the collections in one
// directory of each level. Of its files there are 8 bytes each.
func (m *Mirror) members(ctx context.Context, dir string) error {
	seed, there, below := maphash.MakeSeed(), map[uint64]bool{}, []string(nil)
	err := patiently(ctx, func() error {
		below = below[:0]
		return m.list(ctx, dir, func(s tree.State) error {
			entered, err := m.ensure(ctx, s)
			_, base := tree.Split(s.Name)
			if there[maphash.String(seed, base)] = true; entered {
				below = append(below, s.Name)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	err = m.each(dir, func(base string) error {
		if there[maphash.String(seed, base)] || dir == "" && (base == MirrorState || base == "lost+found") {
			return nil
		}
		// It may have come since the listing.
		return m.shallow(ctx, tree.Join(dir, base))
	})
	if errors.Is(err, errClosed) {
		m.left(dir, "its other members stay: "+err.Error())
		err = nil
	}
	for _, name := range below {
		if err == nil {
			err = m.members(ctx, name)
		}
	}
	return err
}

// list calls do with each member of a collection. One that is gone has none.
func (m *Mirror) list(ctx context.Context, dir string, do func(tree.State) error) error {
	opts := tree.ListOptions{Depth: 1, Want: tree.WantTag}
	for s, err := range m.From.List(ctx, dir, opts, tree.Condition{}) {
		if errors.Is(err, tree.ErrNotExist) {
			return nil
		}
		if err == nil && s.Name != dir {
			err = do(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
