package etagfs

import (
	"errors"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A commit holds the locks of the volumes that it is about, and of no other. Its scope says which these are, as far as
// names tell before. Each look in the commit then makes sure that the volume is held that it is about to look at. So
// the names that a condition follows through links, or the locks that it asks about, may make the scope wider.

// scopeOf returns the scope of a change of some names under a condition. If deep is set, the change is also about all
// names below them.
func scopeOf(cond tree.Condition, deep bool, names ...string) fs.Scope {
	scope := fs.Scope{Changed: names, Seen: cond.Names}
	if deep {
		scope.Below = slices.Clip(names)
	}
	return scope
}

// seeing returns the scope of a change that also looks at a name.
func seeing(scope fs.Scope, name string) fs.Scope {
	scope.Seen = append(slices.Clip(scope.Seen), name)
	return scope
}

// maxWider bounds how often a Check is asked again because the change is about more volumes than were locked. Each
// time, there is at least one more.
const maxWider = 64

// errWider says that a transaction is about more volumes than it held, and has changed nothing.
var errWider = errors.New("the change is about more volumes than were locked")

// widen adds to a scope what a transaction was found to lack, and returns errWider. It may wait for a file system that
// does not answer, and holds no lock then.
func (s *Store) widen(scope *fs.Scope, lacks []*fs.NotHeldError) error {
	scope.Seen, scope.Below = slices.Clip(scope.Seen), slices.Clip(scope.Below)
	for _, lack := range lacks {
		scope.Add(lack)
		if lack.Shared {
			continue
		}
		if err := s.fs.Learn(lack.Name); err != nil {
			return failure.Of(err)
		}
	}
	return errWider
}

// lack notes that a commit lacks the lock of a volume, if an error says so, and returns the error.
func (v *view) lack(err error) error {
	if err == nil {
		return nil
	}
	if lacks := new(fs.NotHeldError); errors.As(err, &lacks) {
		v.lacks = append(v.lacks, lacks)
	}
	return err
}

// isHeld fails unless the volume of a name is held, if this is the view of a commit.
func (v *view) isHeld(name string) error {
	if v.hold == nil {
		return nil
	}
	return v.lack(v.hold.Check(name))
}

// isHeldBelow is isHeld for a name and all names below it.
func (v *view) isHeldBelow(name string) error {
	if v.hold == nil {
		return nil
	}
	return v.lack(v.hold.CheckBelow(name))
}

// isHeldAbove looks at the collection of a new name, and fails unless its volume is held. A file system may have been
// mounted there a moment ago.
func (v *view) isHeldAbove(name string) error {
	parent, _ := tree.Split(name)
	if parent == "" {
		return nil
	}
	_, err := v.lstat(parent)
	return err
}
