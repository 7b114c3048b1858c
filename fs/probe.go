package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"
)

// Abilities are what the file system below was found to do, by trying it once. A file system that is read-only is not
// tried, and has none but Aliases.
type Abilities struct {
	// Exclusive: nobody else can write to it; what was seen stays true.
	Exclusive bool
	// FineTimes: two changes never carry the same time of change, so that a fingerprint taken after a commit tells every
	// later one.
	FineTimes bool
	// CreateOnly: the kernel itself refuses to create over what is there, also against other programs.
	CreateOnly bool
	// Attributes: extended attributes, where properties are kept.
	Attributes bool
	// Flock: file locks, without which only one server may serve the directory.
	Flock bool
	// Aliases: a name has other spellings that lead to the same file.
	Aliases bool
}

// String returns the abilities in a line for people.
func (a Abilities) String() string {
	if a.Exclusive {
		return "in memory: nothing is durable, and no other program sees it"
	}
	say := func(yes bool, good, bad string) string {
		if yes {
			return good
		}
		return bad
	}
	return strings.Join([]string{
		say(a.FineTimes, "fine time stamps", "coarse time stamps (fresh files are hashed again)"),
		say(a.CreateOnly, "atomic create", "no atomic create (a local program's new file can be overwritten)"),
		say(a.Attributes, "extended attributes", "no extended attributes (properties cannot be set)"),
		say(a.Flock, "file locks", "no file locks (start one server only)"),
		say(!a.Aliases, "case-sensitive names", "names in any case"),
	}, ", ")
}

// Rounds of writing and looking: enough for a clock that ticks every 10 ms to be caught, and over in a millisecond.
const timeRounds = 64

// probe tries what lies below, in our part of the staging directory.
func (s *FS) probe() (Abilities, error) {
	var a Abilities
	if _, ok := s.below().(*aferoCalls); ok {
		return Abilities{Exclusive: true, FineTimes: true, CreateOnly: true, Attributes: true, Flock: true}, nil
	}
	st, err := s.Stage()
	if err != nil {
		return a, err
	}
	defer st.Discard()
	if a.FineTimes, err = s.probeTimes(st); err != nil {
		return a, err
	}
	if err := s.calls.setAttr(st.file, []byte("probe")); err == nil {
		a.Attributes = true
	}
	second, err := s.Stage()
	if err != nil {
		return a, err
	}
	defer second.Discard()
	a.CreateOnly = s.probeCreateOnly(st.name, second.name)
	a.Flock = !errors.Is(s.calls.tryFlock(second.file), errors.ErrUnsupported)
	a.Aliases = s.probeAliases()
	return a, nil
}

// probeAliases takes one look, and so it also serves what is read-only.
func (s *FS) probeAliases() bool {
	_, err := s.calls.lstat(strings.ToUpper(stateDir))
	return err == nil
}

// below returns the table itself, without the seam.
func (s *FS) below() calls {
	if h, ok := s.calls.(hooked); ok {
		return h.calls
	}
	return s.calls
}

func (s *FS) probeTimes(st *Staged) (fine bool, err error) {
	last, err := s.calls.fstat(st.file)
	if err != nil {
		return false, err
	}
	fine = last.Inode != 0
	for range timeRounds {
		if _, err := st.Write([]byte{0}); err != nil {
			return false, err
		}
		now, err := s.calls.fstat(st.file)
		if err != nil {
			return false, err
		}
		fine = fine && now.Changed != last.Changed
		last = now
	}
	return fine, nil
}

func (s *FS) probeCreateOnly(from, to string) bool {
	d, ok := s.below().(*dirCalls)
	return ok && errors.Is(d.kernel.renameNew(from, to), iofs.ErrExist)
}

// Durability returns what a commit promises, for people.
func (d Durability) String() string {
	switch d {
	case Full:
		return "full"
	case Data:
		return "data"
	case None:
		return "none"
	}
	return fmt.Sprintf("Durability(%d)", d)
}
