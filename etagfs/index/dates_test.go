package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// nowhere is the Around of a name in the root, or in collections that were not changed.
func nowhere() Around { return Around{Sure: true} }

// isSure says of a version that the name has it now.
func isSure() bool { return true }

// A file is one name on a simulated disk.
type file struct {
	m        *machine
	name     string
	of       vfs.Fingerprint
	tag      tree.ETag
	modified int64
}

func (m *machine) fileAt(name, tag string) *file {
	f := &file{m: m, name: name}
	f.write(tag)
	return f
}

// write has a local program put another version there.
func (f *file) write(tag string) {
	f.of = vfs.Fingerprint{Device: 1, Inode: f.of.Inode + 1, Born: 1, Changed: f.m.clock.Now().UnixNano()}
	f.tag, f.modified = tree.ETag(tag), f.m.clock.Now().Unix()
}

func (f *file) version() Version {
	return Version{Of: f.of, Tag: f.tag, Modified: f.modified, Changed: f.of.Changed / 1e9, Traced: true}
}

// commit has a client put another version there, through one process.
func (f *file) commit(x *Index, d *Dates) {
	over := f.version()
	change := d.Begin(f.name, &over, AsValidator, nowhere, func() int64 { return f.m.clock.Now().UnixNano() })
	f.write(string(f.tag) + "+")
	f.modified = change.Next(f.m.clock.Now()).Unix()
	r := synced(oneTag)
	r.Dates = change.Done(f.version())
	x.Put(f.of, r)
}

// show shows the version, and returns its date.
func (f *file) show(d *Dates) int64 {
	d.Show(f.name, f.version(), AsIs, isSure, nowhere)
	return f.modified
}

// proves reports whether the own date of a version proves it.
func (f *file) proves(d *Dates, v Version) bool {
	return d.Range(f.name, v, nowhere).Proves(time.Unix(v.Modified, 0)) == tree.True
}

// What is committed is proven by its date, in all processes, also after a restart.
func TestDateOfACommitProvesIt(t *testing.T) {
	m := newMachine(t)
	one := m.open()
	first := m.dates(one)
	m.clock.Advance(10 * time.Second)
	f := m.fileAt("f", "one")
	f.show(first)
	f.commit(one, first)
	f.show(first)
	other := m.open()
	second := m.dates(other)
	f.show(second)
	for name, d := range map[string]*Dates{"the one that committed": first, "the other one": second} {
		if !f.proves(d, f.version()) {
			t.Errorf("in %s, the date of a version proves nothing", name)
		}
	}
	m.stop(one)
	m.stop(other)
	m.clock.Advance(time.Minute)
	x := m.open()
	d := m.dates(x)
	if !f.proves(d, f.version()) {
		t.Error("after a restart, the date of a version proves nothing")
	}
	f.write("two") // by a local program: what this name was shown with before the start is forgotten
	f.modified -= 120
	if f.proves(d, f.version()) {
		t.Error("a date of before the start proves what a local program has written")
	}
	m.wantSaid()
}

// A reader is shown a version while a commit is about to replace it, or has just replaced it: its date has come since
// the commit began, or is told though it has not come. It proves nothing of the new version.
func TestReadersAreShownAVersionDuringACommit(t *testing.T) {
	for _, tt := range []struct {
		about string
		how   Showing
		comes bool // the date, after the commit has begun
		late  bool // the reader is shown the new version, too, before the commit notes it
	}{
		{about: "its date has come", how: AsValidator, comes: true},
		{about: "its date has come, and the new version is shown", how: AsValidator, comes: true, late: true},
		{about: "it is told with a date that has not come", how: AsIs},
		{about: "it is told with a date that has not come, and so is the new version", how: AsIs, late: true},
	} {
		t.Run(tt.about, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			d := m.dates(x)
			m.clock.Advance(10 * time.Second)
			f := m.fileAt("f", "one")
			f.commit(x, d)
			f.modified = m.clock.Now().Unix() + 1
			over := f.version()
			change := d.Begin(f.name, &over, AsValidator, nowhere, func() int64 { return m.clock.Now().UnixNano() })
			if tt.comes {
				m.clock.Advance(time.Second)
			}
			d.Show(f.name, f.version(), tt.how, isSure, nowhere)
			date := f.modified
			f.write("two")
			f.modified = date // as a client asks for
			if tt.late {
				d.Show(f.name, f.version(), tt.how, isSure, nowhere)
			}
			r := synced(oneTag)
			r.Dates = change.Done(f.version())
			x.Put(f.of, r)
			m.clock.Advance(2 * time.Second)
			if f.proves(d, f.version()) {
				t.Error("the date that a reader has got with the version before proves the new one")
			}
			m.stop(x)
			m.clock.Advance(time.Minute)
			x = m.open()
			if d = m.dates(x); f.proves(d, f.version()) {
				t.Error("after a restart, the date that a reader has got with the version before proves the new one")
			}
		})
	}
}

// A version is shown that was seen before a commit which has noted another one since.
func TestWhatWasSeenBeforeACommitIsNotShownAsNow(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	d := m.dates(x)
	m.clock.Advance(10 * time.Second)
	f := m.fileAt("f", "one")
	seen := f.version()
	m.clock.Advance(10 * time.Second)
	f.commit(x, d)
	if d.Show(f.name, seen, AsIs, func() bool { return false }, nowhere) {
		t.Error("it is shown as if the name had it")
	}
	if !d.Show(f.name, f.version(), AsIs, isSure, nowhere) || !f.proves(d, f.version()) {
		t.Error("the date of the new version does not prove it")
	}
}

// Two processes write in turn, each on top of what it has seen, by date alone. No version is replaced that was not
// seen.
func TestTwoProcessesCountByDate(t *testing.T) {
	m := newMachine(t)
	xs := []*Index{m.open(), m.open()}
	ds := []*Dates{m.dates(xs[0]), m.dates(xs[1])}
	m.clock.Advance(10 * time.Second)
	f := m.fileAt("f", "0")
	for i := range ds {
		f.show(ds[i])
	}
	f.commit(xs[0], ds[0])
	shown := map[int64][]tree.ETag{}
	random := rand.New(rand.NewPCG(3, 4))
	replaced, refused := 0, 0
	for range 400 {
		i := random.IntN(2)
		date := f.show(ds[i])
		shown[date] = append(shown[date], f.tag)
		m.clock.Advance(time.Duration(random.IntN(1500)) * time.Millisecond)
		j := random.IntN(2)
		old := date - int64(random.IntN(3))
		if ds[j].Range(f.name, f.version(), nowhere).Proves(time.Unix(old, 0)) != tree.True {
			refused++
		} else if tags := shown[old]; len(tags) > 0 &&
			slices.ContainsFunc(tags, func(tag tree.ETag) bool { return tag != f.tag }) {
			t.Fatalf("the date %d was shown with %v, and replaces %v", old, tags, f.tag)
		} else {
			replaced++
		}
		if random.IntN(2) == 0 {
			f.commit(xs[j], ds[j])
		}
	}
	if replaced < 50 || refused < 50 {
		t.Errorf("%d were proven, and %d were not", replaced, refused)
	}
}

// A file is deleted and made again, by one process after the other, in one second.
func TestTwoProcessesDeleteAndRecreate(t *testing.T) {
	for _, pause := range []time.Duration{0, 10 * time.Second} {
		t.Run(fmt.Sprint(pause), func(t *testing.T) {
			m := newMachine(t)
			one, other := m.open(), m.open()
			first, second := m.dates(one), m.dates(other)
			m.clock.Advance(10 * time.Second)
			f := m.fileAt("f", "one")
			f.show(second)
			f.commit(one, first)
			date := f.show(first)
			deleted := m.clock.Now().UnixNano()
			m.clock.Advance(pause)
			change := second.Begin("f", nil, AsIs, func() Around { return Around{Sure: true, Parent: deleted} },
				func() int64 { return m.clock.Now().UnixNano() })
			f.write("again")
			f.modified = date // as a client asks for
			r := synced(oneTag)
			r.Dates = change.Done(f.version())
			other.Put(f.of, r)
			for _, d := range []*Dates{first, second} {
				if f.proves(d, f.version()) {
					t.Error("the date of what was deleted proves what was made after it")
				}
			}
			m.clock.Advance(10 * time.Second)
			f.commit(other, second)
			f.show(first)
			if !f.proves(first, f.version()) {
				t.Error("no date proves it ever after")
			}
		})
	}
}

// What is known of a name in a record ends where the name can have been another file's since.
func TestEvidenceEnds(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(m *machine, f *file, v *Version, around *Around) // before the restart
		then   func(m *machine, x *Index, d *Dates)                  // after it
		stands bool
	}{
		{name: "nothing happens", stands: true},
		{name: "a collection above it is moved",
			change: func(m *machine, f *file, v *Version, a *Around) { a.Moved = f.of.Changed + int64(time.Second) }},
		{name: "a link is on the way", change: func(m *machine, f *file, v *Version, a *Around) { a.Sure = false }},
		{name: "it has another name", change: func(m *machine, f *file, v *Version, a *Around) { f.name = "d/g" }},
		{name: "it was changed", change: func(m *machine, f *file, v *Version, a *Around) { v.Of.Changed++ }},
		{name: "the shared state is lost", change: func(m *machine, f *file, v *Version, a *Around) {
			if err := inPlaceOf(lockName, "file")(m); err != nil {
				m.t.Fatal(err)
			}
		}},
		{name: "a file on another mount was shown", then: func(m *machine, x *Index, d *Dates) {
			d.Show("m/f", Version{Of: fingerprint(99), Tag: oneTag, Mounted: true}, AsIs, isSure, nowhere)
		}},
		{name: "the clock was set back", then: func(m *machine, x *Index, d *Dates) {
			m.clock.Advance(-time.Hour)
			d.Show("other", Version{Of: fingerprint(99), Tag: oneTag}, AsIs, isSure, nowhere)
			m.clock.Advance(time.Hour)
		}},
		{name: "the clock was set on", then: func(m *machine, x *Index, d *Dates) {
			m.clock.Advance(time.Hour)
			d.Show("other", Version{Of: fingerprint(99), Tag: oneTag}, AsIs, isSure, nowhere)
		}, stands: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			d := m.dates(x)
			m.clock.Advance(10 * time.Second)
			f := m.fileAt("d/f", "one")
			f.show(d)
			f.commit(x, d)
			f.show(d)
			m.stop(x)
			v, around := f.version(), Around{Sure: true, Moved: f.of.Changed}
			if test.change != nil {
				test.change(m, f, &v, &around)
			}
			m.clock.Advance(10 * time.Second)
			for range 2 {
				x = m.open()
				d = m.dates(x)
				if test.then != nil {
					test.then(m, x, d)
				}
				dates := d.Range(f.name, v, func() Around { return around })
				if stands := dates.Proves(time.Unix(v.Modified, 0)) == tree.True; stands != test.stands {
					t.Errorf("its date proves it: %v", stands)
				}
				m.stop(x)
			}
		})
	}
}

// Where an exchange leaves no trace in what it exchanges, as on XFS, the collection tells of it.
func TestEvidenceOfWhatLeavesNoTrace(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	d := m.dates(x)
	m.clock.Advance(10 * time.Second)
	f := m.fileAt("f", "one")
	f.commit(x, d)
	m.stop(x)
	m.clock.Advance(10 * time.Second)
	d = m.dates(m.open())
	v := f.version()
	for _, traced := range []bool{true, false} {
		for root, want := range map[int64]bool{f.of.Changed: true, f.of.Changed + int64(time.Second): traced} {
			v.Traced = traced
			dates := d.Range("f", v, func() Around { return Around{Sure: true, Moved: root} })
			if got := dates.Proves(time.Unix(v.Modified, 0)) == tree.True; got != want {
				t.Errorf("with traces %v, the root %v later: its date proves it: %v", traced, root-f.of.Changed, got)
			}
		}
	}
}

// Where time stamps are coarse, two versions can have one fingerprint.
func TestCoarseStampsProveNothingOfAFreshFile(t *testing.T) {
	m := newMachine(t)
	d := m.dates(m.open())
	m.clock.Advance(10 * time.Second)
	f := m.fileAt("f", "one")
	v := f.version()
	v.Tag, v.Vague, v.Changed = "", true, v.Changed+2
	d.Show("f", v, AsIs, isSure, nowhere)
	if f.proves(d, v) {
		t.Error("its date proves a version that a later one can have the stamps of")
	}
	v.Vague = false
	if !f.proves(d, v) {
		t.Error("its date proves nothing")
	}
}
