package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash/maphash"
	"io"
	iofs "io/fs"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// compare reads all files of the directory, and compares their tags with those of the store.
func (m *Mirror) compare(ctx context.Context) error { return m.compareMembers(ctx, "") }

func (m *Mirror) compareMembers(ctx context.Context, dir string) error {
	seed, there, below := maphash.MakeSeed(), map[uint64]bool{}, []string(nil)
	err := m.list(ctx, dir, func(s tree.State) error {
		_, base := tree.Split(s.Name)
		there[maphash.String(seed, base)] = true
		s, same, err := m.settle(ctx, s)
		switch {
		case err != nil || !same:
			return err
		case s.Collection:
			below = append(below, s.Name)
		case s.Exists:
			m.done.Compared++
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	err = m.each(dir, func(base string) error {
		name := tree.Join(dir, base)
		if there[maphash.String(seed, base)] || dir == "" && (base == MirrorState || base == "lost+found") {
			return nil
		}
		_, _, err := m.settle(ctx, tree.State{Name: name})
		return err
	})
	if errors.Is(err, errClosed) { // the mirror has told of it
		err = nil
	}
	for _, name := range below {
		if err == nil {
			err = m.compareMembers(ctx, name)
		}
	}
	return err
}

// changesMeanwhile is how often a name may change while it is compared.
const changesMeanwhile = 20

// settle compares a name with a state. If they differ, it takes over the present state. It counts and tells of a name
// that differs in the end. A name can come and go all the time, so one that the mirror did not leave as it is is looked
// at again.
func (m *Mirror) settle(ctx context.Context, s tree.State) (tree.State, bool, error) {
	same, err := m.isSame(s)
	for tries, left := 0, m.done.Left; err == nil && !same && m.done.Left == left && tries < changesMeanwhile; tries++ {
		if err = m.shallow(ctx, s.Name); err != nil {
			break
		}
		if s, err = m.stat(ctx, s.Name); err == nil {
			same, err = m.isSame(s)
		}
	}
	if err == nil && !same {
		m.done.Different++
		what := "is not what it is in the tree"
		if !s.Exists {
			what = "is here, and not in the tree"
		}
		m.Tell(s.Name, what)
	}
	return s, same, err
}

// isSame reports whether a name is as a state says. A file is read.
func (m *Mirror) isSame(s tree.State) (bool, error) {
	l, err := m.look(s.Name)
	switch {
	case errors.Is(err, errClosed):
		return false, nil
	case err != nil || l.info == nil || !s.Exists:
		return err == nil && (l.info != nil) == s.Exists, err
	case s.Collection || !l.info.Mode().IsRegular():
		return s.Collection && l.info.IsDir(), nil
	}
	f, err := m.root.Open(s.Name)
	if errors.Is(err, iofs.ErrPermission) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return false, err
	}
	return tree.TagOf([32]byte(sum.Sum(nil))) == s.Tag, nil
}
