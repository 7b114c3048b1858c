package index

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The clock is set back while two processes run, and comes on again. What one has shown by the time before proves
// nothing of what the other one commits.
func TestClockIsSetBackWhileTwoProcessesRun(t *testing.T) {
	m := newMachine(t)
	one, other := m.open(), m.open()
	first, second := m.dates(one), m.dates(other)
	m.clock.Advance(10 * time.Second)
	f := m.fileAt("f", "one")
	f.show(second)
	m.clock.Advance(time.Hour)
	f.write("two")
	date := f.show(first) // nothing but this one process knows how late it was
	m.clock.Advance(-time.Hour)
	f.write("three")
	over := f.version()
	change := second.Begin(f.name, &over, AsIs, nowhere, func() int64 { return m.clock.Now().UnixNano() })
	f.write("four")
	f.modified = date // as a client asks for
	r := synced(oneTag)
	r.Dates = change.Done(f.version())
	other.Put(f.of, r)
	f.show(second)
	m.clock.Advance(time.Hour + time.Minute)
	for name, d := range map[string]*Dates{"first": first, "second": second} {
		if d.Range("f", f.version(), nowhere).Proves(time.Unix(date, 0)) == tree.True {
			t.Errorf("in the %s process, the date of another version proves the one that is there", name)
		}
	}
	m.kill(one)
	m.kill(other)
	third := m.dates(m.open())
	if third.Range("f", f.version(), nowhere).Proves(time.Unix(date, 0)) == tree.True {
		t.Error("after both were killed, the date of another version proves the one that is there")
	}
}

// The machine goes down, and its clock is behind when it is up again. What was shown in the end may not have been
// noted.
func TestClockIsBehindAfterAPowerFailure(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	d := m.dates(x)
	f := m.fileAt("f", "one")
	f.show(d)
	d.Tick()
	saved := m.copy() // of what the disk has
	m.clock.Advance(Interval)
	f.write("two")
	date := f.show(d)
	m.reboot(x)
	m.dir = saved
	m.clock.Advance(-time.Hour)
	d = m.dates(m.open())
	f.write("three")
	f.modified = date
	m.clock.Advance(2 * time.Hour)
	if f.proves(d, f.version()) {
		t.Error("a date that was shown with another version before the power failed proves this one")
	}
}

// An index that was deleted while it was in use is told again of dates that have not come.
func TestDatesAheadOutliveTheIndex(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	d := m.dates(x)
	m.clock.Advance(10 * time.Second)
	f := m.fileAt("f", "one")
	f.modified += 3600
	date := f.show(d)
	if err := os.RemoveAll(m.dir); err != nil {
		t.Fatal(err)
	}
	x.Tick()
	d.Tick()
	m.wantSaid("begun anew")
	m.clock.Advance(10 * time.Second)
	f.write("two")
	f.modified = date
	for name, d := range map[string]*Dates{"the process": d, "another one": m.dates(m.open())} {
		if f.proves(d, f.version()) {
			t.Errorf("in %s, a date that was shown before it came with another version proves this one", name)
		}
	}
}

// When the other process is gone, what this one shows counts again.
func TestDatesAloneAgain(t *testing.T) {
	m := newMachine(t)
	one, other := m.open(), m.open()
	first, second := m.dates(one), m.dates(other)
	m.clock.Advance(10 * time.Second)
	f := m.fileAt("f", "one")
	f.show(first)
	if !f.proves(first, f.version()) {
		t.Fatal("alone, a process does not know what it has shown")
	}
	f.show(second)
	if f.proves(first, f.version()) || f.proves(second, f.version()) {
		t.Error("what no commit has put there is proven while two processes show dates")
	}
	m.kill(other)
	one.Tick()
	first.Tick()
	m.clock.Advance(10 * time.Second)
	f.write("two")
	f.show(first)
	if !f.proves(first, f.version()) {
		t.Error("it is alone again, and no date proves anything")
	}
}

// The notes are bounded. What is forgotten counts as shown with any date until then.
func TestForgottenNotesAreAnsweredFor(t *testing.T) {
	d := NewDates(Open(Options{Device: 1}), true, time.Now, func(error) {})
	d.notes = newCache[uint64](2*cacheShards, d.drop)
	now := time.Now().Unix()
	shown := map[int]int64{}
	random := rand.New(rand.NewPCG(1, 2))
	kept := 0
	for i := range 20_000 {
		name := random.IntN(500)
		v := Version{Of: vfs.Fingerprint{Device: 1, Inode: uint64(i + 1)}, Tag: tree.ETag(fmt.Sprint(i)),
			Modified: now - 1000 + random.Int64N(1000), Changed: now - 1000}
		last, ok := shown[name]
		if ok && d.Range(fmt.Sprint(name), v, nowhere).Proves(time.Unix(last, 0)) == tree.True {
			t.Fatalf("the date %d was shown with another version of %d, and proves the one of %d", last, name,
				v.Modified)
		}
		d.Show(fmt.Sprint(name), v, AsIs, isSure, nowhere)
		if d.Range(fmt.Sprint(name), v, nowhere).Proves(time.Unix(v.Modified, 0)) == tree.True {
			kept++
		}
		shown[name] = max(shown[name], v.Modified)
	}
	if n := d.notes.Len(); n > 2*cacheShards || kept == 0 {
		t.Errorf("%d notes are kept, and %d dates proved something", n, kept)
	}
}

// Dates that have not come are kept for all names, and as spans where there are many.
func TestDatesAheadAreBounded(t *testing.T) {
	var spans []tree.Span
	random := rand.New(rand.NewPCG(1, 2))
	added := map[int64]bool{}
	for range 3000 {
		date := random.Int64N(1 << 40)
		first := tree.Span{First: date, Last: date + random.Int64N(10)}
		spans = addTo(spans, first)
		added[first.First], added[first.Last] = true, true
		if len(spans) > maxAhead || !slices.IsSortedFunc(spans, func(a, b tree.Span) int {
			if a.Last < b.First {
				return -1
			}
			return 1
		}) {
			t.Fatalf("they are %v", spans)
		}
	}
	for date := range added {
		if !tree.AnyHas(spans, date) {
			t.Fatalf("%d is not in %v", date, spans)
		}
	}
	n := sharedState{high: 1, lead: 2, back: 3, boot: 4, mounted: true, corrected: 5, ahead: spans}
	if again, ok := decodeShared(n.encode()); !ok || fmt.Sprint(again) != fmt.Sprint(n) {
		t.Errorf("%+v becomes %+v", n, again)
	}
}

func FuzzSharedState(f *testing.F) {
	f.Add(sharedState{high: 1, lead: 2, back: 3, boot: 4, mounted: true,
		ahead: []tree.Span{{First: 1, Last: 2}}}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == stateSize {
			data = seal(data[:stateSize-4])
		}
		n, ok := decodeShared(data)
		if !ok {
			return
		}
		if again, ok := decodeShared(n.encode()); !ok || fmt.Sprint(again) != fmt.Sprint(n) {
			t.Errorf("%+v becomes %+v", n, again)
		}
	})
}

func BenchmarkShow(b *testing.B) {
	d := NewDates(Open(Options{Device: 1}), true, time.Now, func(error) {})
	v := Version{Of: fingerprint(1), Tag: oneTag, Modified: 1e9, Changed: 1e9}
	for b.Loop() {
		d.Show("some/name", v, AsIs, isSure, nowhere)
	}
}

func BenchmarkLookup(b *testing.B) {
	x := Open(Options{Device: 1})
	f := fingerprint(1)
	x.Put(f, RecordOf(oneTag))
	for b.Loop() {
		x.Tag(f)
	}
}
