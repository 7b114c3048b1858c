package fs

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"ifmatch/fs/vfs"
)

// Abilities are the capabilities that a file system was found to have when FS tried them once. A read-only file system
// is not tried, and has no capability but Aliases.
type Abilities struct {
	// Exclusive: no other program can write to the file system, so a look at it stays true.
	Exclusive bool
	// FineTimes: two changes never carry the same time of change. So a fingerprint taken after a commit differs after
	// every later change.
	FineTimes bool
	// CreateOnly: the kernel itself refuses to create a name that exists already, also against other programs.
	CreateOnly bool
	// Exchange: two names swap their files or collections at one instant. So a commit can look at the version that it
	// replaces, and can put that version back. A collection replaces another one without a moment in which the name is
	// free.
	Exchange bool
	// ExchangeTimes: an exchange changes the time of change of both files, as a rename does. On XFS it does not.
	ExchangeTimes bool
	// Leases: the kernel tells whether a program has a file open for writing, and no program can write under a lease
	// without being seen, see [Lease]. It applies to the files that the user of this process owns. Root counts as the
	// owner of all files.
	Leases bool
	// LeasesSeeMaps: the kernel refuses a lease as long as a program has the file mapped for writing. So nothing writes
	// to a file under an unbroken lease. Overlayfs does not refuse it.
	LeasesSeeMaps bool
	// Mappings: FS notices that a program writes to a file through a memory map. LeasesSeeMaps is true, and the first
	// store changes the times of the file. Tmpfs does not change the times if the program has read through the map
	// before.
	Mappings bool
	// Attributes: extended attributes, in which properties are kept.
	Attributes bool
	// AttributeTimes: setting an extended attribute changes the time of change. So a fingerprint also tells that a file
	// still has no attributes.
	AttributeTimes bool
	// Flock: file locks. Without them only one server may serve the directory.
	Flock bool
	// Aliases: a name has other spellings that lead to the same file, at least at the top of the file system.
	Aliases bool
	// Stale: after a change by another spelling of a name, the name goes on to stand for the old file for as long as
	// the kernel remembers the name. See renewBelow.
	Stale bool
	// Shared: the file system has no modes that keep other users of the machine from writing to the state directory.
	Shared bool
}

// String returns the abilities in one line for people.
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
	found := []string{
		say(a.FineTimes, "fine time stamps", "coarse time stamps (fresh files are hashed again)"),
		say(a.CreateOnly, "atomic create", "no atomic create (a local program's new file can be overwritten)"),
		say(a.Exchange, "atomic exchange", "no atomic exchange (what a local program changes "+
			"in the instant of a commit is lost; "+
			"replacing a collection takes two renames)"),
		a.leases(),
		say(a.Attributes, "extended attributes", "no extended attributes (properties cannot be set)"),
		say(a.Flock, "file locks", "no file locks (start one server only)"),
		say(!a.Aliases, "case-sensitive names", "names in any case"),
	}
	if a.Stale {
		found = append(found, "the kernel remembers names, and does not ask the disk again (Linux does since 5.15; "+
			"an update by one spelling of a name can be lost by another)")
	}
	if a.Shared {
		found = append(found, "no modes (any local user can write to the server's own state; "+
			"ETags are kept in memory only)")
	}
	return strings.Join(found, ", ")
}

func (a Abilities) leases() string {
	switch {
	case !a.Leases:
		return "no leases (fresh files are hashed again; who has a file open for writing is not seen)"
	case !a.Mappings:
		return "leases, but not all of memory maps is seen " +
			"(a tag may be that of the bytes before, where a local program writes through one)"
	}
	return "leases"
}

// timeRounds is the number of rounds of writing and looking. It is enough to catch a clock that ticks every 10 ms, and
// takes a millisecond.
const timeRounds = 64

// probe tries the capabilities of the file system in the staging directory of this process.
func (v *volume) probe() (Abilities, error) {
	var a Abilities
	if v.calls.IsInMemory() {
		return Abilities{Exclusive: true, FineTimes: true, CreateOnly: true, Exchange: true, ExchangeTimes: true, Leases: true,
			Mappings: true, Attributes: true, Flock: true, Aliases: v.probeAliases()}, nil
	}
	st, err := v.stage()
	if err != nil {
		return a, err
	}
	defer st.Discard()
	if a.FineTimes, err = v.probeTimes(st); err != nil {
		return a, err
	}
	a.Attributes, a.AttributeTimes = probeAttributes(st)
	second, err := v.stage()
	if err != nil {
		return a, err
	}
	defer second.Discard()
	a.CreateOnly = v.calls.CreatesOnly(st.at.name, second.at.name)
	a.Flock = !errors.Is(second.file.TryFlock(), errors.ErrUnsupported)
	a.Aliases = v.probeAliases()
	before, err := st.Info()
	if err != nil {
		return a, err
	}
	if second.file.Volume().Recalled {
		a.Stale = v.probeSpellings()
	}
	a.ExchangeTimes = true
	if a.Exchange = st.at.exchange(second.at) == nil; a.Exchange {
		st.at, second.at = second.at, st.at
		after, err := st.Info()
		a.ExchangeTimes = err == nil && after.Changed != before.Changed
	}
	v.probeLeases(st, &a)
	return a, nil
}

// probeLeases asks for a lease on a staged file three times: while the file is open for writing, while it is only
// mapped, and after that.
func (s *FS) probeLeases(st *Staged, able *Abilities) {
	f, err := st.at.open()
	if err != nil {
		return
	}
	defer f.Close()
	granted := func() (bool, error) {
		err := f.Lease()
		if err == nil {
			f.Unlease()
		}
		return err == nil, err
	}
	if _, err := granted(); !errors.Is(err, ErrWriter) {
		return
	}
	memory, mapped := st.file.MapWritable()
	st.file.Close()
	seen, stamped := false, false
	if mapped == nil {
		beside, _ := granted()
		seen, stamped = !beside, s.isStamped(st, memory)
		vfs.Unmap(memory)
	}
	able.Leases, _ = granted()
	able.LeasesSeeMaps = able.Leases && seen
	able.Mappings = able.LeasesSeeMaps && stamped
}

// isStamped reports whether a store into the map of a staged file moves its times.
func (s *FS) isStamped(st *Staged, memory []byte) bool {
	was := memory[0] // after this read tmpfs does not notice a store
	if err := st.SetModified(time.Unix(0, 0)); err != nil {
		return false
	}
	before, err := st.Info()
	if err != nil {
		return false
	}
	memory[0] = was + 1
	after, err := st.Info()
	return err == nil && after.Modified != before.Modified
}

// probeAliases looks up another spelling of the state directory. It writes nothing, so it also works on a read-only
// file system.
func (v *volume) probeAliases() bool {
	other := path.Join(v.top, strings.ToUpper(stateDir))
	_, err := v.calls.Lstat(other)
	if err == nil {
		v.hasAliases.Store(true)
		v.anyAliases.Store(true)
		v.calls.FoldNames(alikeSegments)
		v.renewBelow(v.statePath(""), other)
	}
	return err == nil
}

func (s *FS) probeTimes(st *Staged) (fine bool, err error) {
	last, err := st.file.Stat()
	if err != nil {
		return false, err
	}
	fine = last.Inode != 0
	for range timeRounds {
		if _, err := st.Write([]byte{0}); err != nil {
			return false, err
		}
		now, err := st.file.Stat()
		if err != nil {
			return false, err
		}
		fine = fine && now.Changed != last.Changed
		last = now
	}
	return fine, nil
}

// probeAttributes sets an extended attribute between two looks at the staged file.
func probeAttributes(st *Staged) (able, moveTimes bool) {
	before, failed := st.file.Stat()
	if err := st.file.SetAttr(propertiesAttr, []byte("probe")); err != nil {
		return false, false
	}
	after, err := st.file.Stat()
	return true, failed == nil && err == nil && after.Changed != before.Changed
}

// String returns the name of the durability, for people.
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

// Abilities returns the capabilities that the file system of the root was found to have when it was opened.
func (s *FS) Abilities() Abilities { return s.root.abilities }

// AbilitiesOf returns the known capabilities of the file system that a look was taken on. A file system to which this
// process has written nothing yet was not tried, and AbilitiesOf returns none for it.
func (s *FS) AbilitiesOf(i Info) Abilities {
	if deviceOf(i) == s.root.device {
		return s.root.abilities
	}
	var able Abilities
	for _, v := range s.volumes() {
		switch {
		case v.device.mount != i.Mount || !v.opened.Load():
		case v.device == deviceOf(i) || v.staged.Device == i.Device: // an overlay can have another number for files
			return v.abilities
		case i.Mount != 0:
			// The look is at a subvolume. Or it is at a file of the lower layer of an overlay, which becomes another
			// file when a program writes to it.
			able = v.abilities
			able.Leases, able.LeasesSeeMaps, able.Mappings = false, false, false
		}
	}
	return able
}
