package volumes

import (
	"fmt"
	"path"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// Abilities are the capabilities that a file system was found to have when it was tried once. A read-only file system
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
	// without being seen, see [vfs.File.Lease]. It applies to the files that the user of this process owns. Root counts as the
	// owner of all files.
	Leases bool
	// LeasesSeeMaps: the kernel refuses a lease as long as a program has the file mapped for writing. So nothing writes
	// to a file under an unbroken lease. Overlayfs does not refuse it.
	LeasesSeeMaps bool
	// Mappings: it is noticed that a program writes to a file through a memory map. LeasesSeeMaps is true, and the
	// first store changes the times of the file. Tmpfs does not change the times if the program has read through the
	// map before.
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
			"in the instant of a commit is lost; replacing a collection takes two renames)"),
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

// ProbeAliases looks up another spelling of the state directory. It writes nothing, so it also works on a read-only
// file system.
func (v *Volume) ProbeAliases() bool {
	other := path.Join(v.Top, strings.ToUpper(OwnDir))
	_, err := v.t.calls.Lstat(other)
	if err == nil {
		v.HasAliases.Store(true)
		v.t.anyAliases.Store(true)
		v.t.calls.FoldNames(alikeSegments)
		v.renewBelow(v.stateAt, other)
	}
	return err == nil
}

// String returns the name of the durability, for people.
func (d Durability) String() string {
	if names := []string{Full: "full", Data: "data", None: "none"}; int(d) < len(names) {
		return names[d]
	}
	return fmt.Sprintf("Durability(%d)", d)
}

// Abilities returns the capabilities that the file system of the root was found to have when it was opened.
func (s *Tree) Abilities() Abilities { return s.root.abilities }

// AbilitiesOf returns the known capabilities of the file system that a look was taken on. A file system to which this
// process has written nothing yet was not tried, and AbilitiesOf returns none for it.
func (s *Tree) AbilitiesOf(i vfs.Info) Abilities {
	if DeviceOf(i) == s.root.Device {
		return s.root.abilities
	}
	var able Abilities
	for _, v := range s.Volumes() {
		switch {
		case v.Device.Mount != i.Mount || !v.Opened.Load():
		case v.Device == DeviceOf(i) || v.Made.Device == i.Device: // an overlay can have another number for files
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
