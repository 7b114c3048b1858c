package etagfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
)

// notes opens the notes beside an index.
func (m *machine) notes(x *index, levels ...uint64) *diskNotes {
	m.t.Helper()
	d, ok := openNotes(x).(*diskNotes)
	if !ok {
		m.t.Fatal("notes are not kept on disk")
	}
	m.t.Cleanup(func() { d.file.Close() })
	if len(levels) > 0 {
		d.levels = levels
	}
	return d
}

// set keeps a note with these dates.
func set(t *testing.T, k keeper, name uint64, shown, earlier int64) {
	t.Helper()
	err := k.change(name, func(n *note) bool {
		n.shown, n.earlier = shown, earlier
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, k keeper, name uint64) (found note) {
	t.Helper()
	if err := k.change(name, func(n *note) bool { found = *n; return false }); err != nil {
		t.Fatal(err)
	}
	return found
}

func wantNote(t *testing.T, k keeper, name uint64, shown, earlier int64) {
	t.Helper()
	if n := get(t, k, name); n.name != name || n.shown != shown || n.earlier != earlier {
		t.Errorf("the note on %d is %+v, want shown %d, earlier %d", name, n, shown, earlier)
	}
}

// What a keeper forgets, it answers for: nothing that it says of a name is before what was noted of it.
func TestNotesAreKeptOrAnsweredFor(t *testing.T) {
	keepers := map[string]func(t *testing.T) keeper{
		"memory": func(*testing.T) keeper {
			m := newMemoryNotes(never)
			m.notes.Resize(100)
			return m
		},
	}
	if bootID() != "" {
		keepers["disk"] = func(t *testing.T) keeper {
			m := newMachine(t)
			return m.notes(m.open(), 1, 2, 4)
		}
		// Two processes that do not know of each other.
		keepers["disk, two processes"] = func(t *testing.T) keeper {
			m := newMachine(t)
			x := m.open()
			return &alternating{m.notes(x, 1, 2, 4), m.notes(x, 1, 2, 4), 0}
		}
	}
	for where, open := range keepers {
		t.Run(where, func(t *testing.T) {
			k, random := open(t), rand.New(rand.NewPCG(1, 2))
			noted := map[uint64]note{}
			kept := 0
			for range 3000 {
				name := 1 + random.Uint64N(300)
				n := get(t, k, name)
				was, ok := noted[name]
				if !ok {
					was = firstNote(name, never, noTime)
				}
				if n.shown == was.shown && n.earlier == was.earlier {
					kept++
				} else if n.last() < was.last() {
					t.Fatalf("the note on %d was %+v, and is %+v", name, was, n)
				}
				n.shown, n.earlier = random.Int64N(1000), random.Int64N(1000)
				set(t, k, name, n.shown, n.earlier)
				noted[name] = n
			}
			if kept < 300 {
				t.Errorf("only %d of the notes were kept", kept)
			}
		})
	}
}

type alternating struct {
	one, other *diskNotes
	turn       int
}

func (a *alternating) change(name uint64, change func(*note) bool) error {
	a.turn++
	if a.turn%2 == 0 {
		return a.one.change(name, change)
	}
	return a.other.change(name, change)
}

func (a *alternating) lost(date int64) int64 { return a.one.lost(date) }
func (a *alternating) renew(*index)          {}
func (a *alternating) close() error          { return nil }

func TestNotesOutliveTheProcess(t *testing.T) {
	for _, stop := range []string{"stopped", "killed"} {
		t.Run(stop, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			d := m.notes(x)
			set(t, d, 1, 10, 9)
			set(t, d, 1<<40, 20, never)
			if stop == "stopped" {
				if err := d.close(); err != nil {
					t.Fatal(err)
				}
				m.stop(x)
			} else {
				m.kill(x)
			}
			d = m.notes(m.open())
			wantNote(t, d, 1, 10, 9)
			wantNote(t, d, 1<<40, 20, never)
			wantNote(t, d, 2, never, never)
			if got := d.lost(m.clock.Now().Unix()); got != never {
				t.Errorf("nothing is lost, and it says %d", got)
			}
			m.wantSaid()
		})
	}
}

func TestNotesAfterAPowerFailure(t *testing.T) {
	m := newMachine(t)
	start := m.clock.Now()
	x := m.open()
	set(t, m.notes(x), 1, 10, 9)
	m.kill(x)
	m.clock.Advance(time.Hour)
	m.boot = "boot-2"
	x = m.open()
	d := m.notes(x)
	m.said = nil
	wantNote(t, d, 1, 10, 9)
	back := m.clock.Now().Unix()
	for date, want := range map[int64]int64{
		start.Add(-written).Unix() - 1: never, // what was shown with it is on the disk
		start.Add(-written).Unix():     back,
		start.Unix():                   back,
		back:                           back,
		back + 1:                       never,
	} {
		if got := d.lost(date); got != want {
			t.Errorf("of %d s after the start, %d is lost, want %d", date-start.Unix(), got, want)
		}
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	m.stop(x)
	m.clock.Advance(time.Hour)
	d = m.notes(m.open())
	if got := d.lost(start.Unix()); got != back {
		t.Errorf("after one more restart, %d is lost, want %d", got, back)
	}
	if got := d.lost(m.clock.Now().Unix()); got != never {
		t.Errorf("a stop has lost %d", got)
	}
	m.wantSaid()
}

func TestDamagedNotes(t *testing.T) {
	m := newMachine(t)
	d := m.notes(m.open(), 1, 2, 4)
	now := m.clock.Now().Unix()
	for name := range uint64(2 * notesPerBucket) {
		set(t, d, name+1, int64(name), never)
	}
	if _, err := d.file.WriteAt([]byte{1}, d.place(1, 0)+100); err != nil {
		t.Fatal(err)
	}
	wantNote(t, d, 1, 0, never)                  // further down
	wantNote(t, d, 2*notesPerBucket, never, now) // it was there
	wantNote(t, d, 1_000_000, never, now)        // it can have been
	set(t, d, 2*notesPerBucket, now+1, now)      // and it goes on
	wantNote(t, d, 2*notesPerBucket, now+1, now)
	m.wantSaid("damaged")

	if _, err := d.file.WriteAt([]byte{1}, 20); err != nil {
		t.Fatal(err)
	}
	x := m.open()
	d = m.notes(x)
	wantNote(t, d, 1, never, never)
	m.wantSaid("begun anew")
}

// Who finds the notes deleted does not know what others noted, and goes on where they find it.
func TestNotesAreDeletedWhileTheyAreUsed(t *testing.T) {
	for _, name := range []string{notesName, ""} {
		t.Run("index/"+name, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			d := m.notes(x)
			set(t, d, 1, 10, 9)
			if err := os.RemoveAll(filepath.Join(m.dir, name)); err != nil {
				t.Fatal(err)
			}
			m.clock.Advance(time.Hour)
			now := m.clock.Now().Unix()
			for range 2 {
				x.beat()
				d.renew(x)
			}
			if said := m.said[len(m.said)-1:]; !strings.Contains(said[0], "notes on dates were deleted") || len(m.said) > 2 {
				t.Errorf("said %q", m.said)
			}
			m.said = nil
			set(t, d, 2, 20, never)
			second := m.notes(m.open())
			for who, d := range map[string]*diskNotes{"the first": d, "the second": second} {
				wantNote(t, d, 2, 20, never)
				if lost := d.lost(10); lost != now {
					t.Errorf("%s: until %d dates are lost, want %d", who, lost, now)
				}
				if lost := d.lost(now + 1); lost != never {
					t.Errorf("%s: a date of later is lost", who)
				}
			}
			m.wantSaid()
		})
	}
}

// A date that cannot be noted proves nothing.
func TestNotesThatCannotBeKept(t *testing.T) {
	m := newMachine(t)
	d := m.notes(m.open())
	reported := 0
	dates := &dates{now: m.clock.Now, report: func(error) { reported++ }, kept: d, failed: never, unkept: noTime}
	then := m.clock.Now().Add(-time.Hour).Unix()
	info := fs.Info{Kind: fs.Regular, Fingerprint: fs.Fingerprint{Inode: 1, Modified: then * 1e9, Changed: then * 1e9}}
	show := func(name string) tree.State {
		s := tree.State{Name: name, Tag: oneTag}
		dates.show(&s, info, asIs, true)
		if s.LastModified.Unix() != then {
			t.Errorf("it is shown with %v", s.LastModified)
		}
		return s
	}
	if s := show("f"); s.ProvenBy(s.LastModified) != tree.True {
		t.Errorf("got %+v", s)
	}
	d.file.Close()
	for _, name := range []string{"f", "g"} {
		if s := show(name); s.ProvenBy(m.clock.Now()) != tree.False {
			t.Errorf("it cannot be noted, and is shown as %+v", s)
		}
	}
	if next := dates.next("f", info); next.Unix() != m.clock.Now().Unix()+1 {
		t.Errorf("the next date is %v", next)
	}
	if reported != 1 {
		t.Errorf("it was reported %d times", reported)
	}
}

// Whatever the bytes, they are a bucket or torn, and a bucket is written as it was read.
func FuzzBucket(f *testing.F) {
	full := bucket{full: true, dropped: 7, ahead: span{8, 9}}
	for i := range notesPerBucket {
		full.notes = append(full.notes, note{uint64(i + 1), 2, 3, 4, never, -6, span{7, 8}, 9})
	}
	f.Add((&bucket{dropped: never, ahead: noTime}).encode())
	f.Add(full.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var read block
		copy(read[:], data)
		err := read.check()
		if err != nil && !errors.Is(err, errTorn) {
			t.Error(err)
		}
		b := read.bucket() // also of what is torn, and then with the right checksum
		again := block(b.encode())
		if err := again.check(); err != nil || fmt.Sprint(again.bucket()) != fmt.Sprint(b) {
			t.Errorf("read %+v, written and read again %+v, error %v", b, again.bucket(), err)
		}
	})
}

func BenchmarkShow(b *testing.B) {
	for _, where := range []string{"memory", "disk"} {
		b.Run(where, func(b *testing.B) {
			var kept keeper = newMemoryNotes(never)
			if where == "disk" {
				f, err := os.Create(b.TempDir() + "/dates")
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				kept = &diskNotes{file: f, levels: noteLevels, now: time.Now}
			}
			d := &dates{now: time.Now, kept: kept, failed: never, unkept: noTime}
			info := fs.Info{Kind: fs.Regular, Fingerprint: fs.Fingerprint{Inode: 1, Modified: 1e18, Changed: 1e18}}
			for b.Loop() {
				s := tree.State{Name: "some/name", Tag: oneTag}
				d.show(&s, info, asIs, true)
			}
		})
	}
}
