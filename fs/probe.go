package fs

import (
	"errors"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// timeRounds is the number of rounds of writing and looking. It is enough to catch a clock that ticks every 10 ms, and
// takes a millisecond.
const timeRounds = 64

// Probe implements [volumes.Above]: it tries the capabilities of the file system in the staging directory of this
// process.
func (v *volume) Probe() (volumes.Abilities, error) {
	var a volumes.Abilities
	if v.calls.IsInMemory() {
		return volumes.Abilities{
			Exclusive: true, FineTimes: true, CreateOnly: true, Exchange: true, ExchangeTimes: true, Leases: true,
			Mappings: true, Attributes: true, Flock: true, Aliases: v.ProbeAliases(),
		}, nil
	}
	st, err := v.stage(vfs.Regular, "")
	if err != nil {
		return a, err
	}
	defer st.Discard()
	if a.FineTimes, err = v.probeTimes(st); err != nil {
		return a, err
	}
	a.Attributes, a.AttributeTimes = probeAttributes(st)
	second, err := v.stage(vfs.Regular, "")
	if err != nil {
		return a, err
	}
	defer second.Discard()
	a.CreateOnly = v.calls.CreatesOnly(st.at.Name, second.at.Name)
	a.Flock = !errors.Is(second.file.TryFlock(), errors.ErrUnsupported)
	a.Aliases = v.ProbeAliases()
	before, err := st.Info()
	if err != nil {
		return a, err
	}
	if second.file.Volume().Recalled {
		a.Stale = v.ProbeSpellings()
	}
	a.ExchangeTimes = true
	if a.Exchange = st.at.Exchange(second.at) == nil; a.Exchange {
		st.at, second.at = second.at, st.at
		after, err := st.Info()
		a.ExchangeTimes = err == nil && after.Changed != before.Changed
	}
	v.probeLeases(st, &a)
	return a, nil
}

// probeLeases asks for a lease on a staged file three times: while the file is open for writing, while it is only
// mapped, and after that.
func (s *FS) probeLeases(st *Staged, able *volumes.Abilities) {
	f, err := st.at.OpenAny()
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
	if _, err := granted(); !errors.Is(err, vfs.ErrWriter) {
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
	if err := st.file.SetAttr(volumes.PropertiesAttr, []byte("probe")); err != nil {
		return false, false
	}
	after, err := st.file.Stat()
	return true, failed == nil && err == nil && after.Changed != before.Changed
}
