package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

const boot = "this boot"

func openJournal(t *testing.T, files Files, opts Options) *Journal {
	t.Helper()
	opts.Boot = boot
	j := New(files, opts)
	if err := j.Load(); err != nil {
		t.Fatal(err)
	}
	j.Rest()
	return j
}

func put(name string) tree.Change {
	return tree.Change{Name: name, State: tree.State{Name: name, Exists: true}, Cause: "PUT", Time: time.Unix(1, 2)}
}

// do appends changes of names, which happen.
func do(t *testing.T, j *Journal, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := j.Append(put(name)); err != nil {
			t.Fatal(err)
		}
		j.Show()
	}
}

func now(t *testing.T, j *Journal) tree.Cursor {
	t.Helper()
	c, err := j.Now()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// follow returns the names of the changes after a cursor.
func follow(j *Journal, since tree.Cursor) (names []string, err error) {
	for {
		changes, err := j.Read(since)
		if err != nil || len(changes) == 0 {
			return names, err
		}
		for _, c := range changes {
			names, since = append(names, c.Name), c.Cursor
		}
	}
}

func wantFollowed(t *testing.T, what string, j *Journal, since tree.Cursor, want ...string) {
	t.Helper()
	got, err := follow(j, since)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%s: after %q come %q, error %v; want %q", what, since, got, err, want)
	}
}

func wantForgotten(t *testing.T, what string, j *Journal, since tree.Cursor) {
	t.Helper()
	if got, err := follow(j, since); !errors.Is(err, tree.ErrNotExist) {
		t.Errorf("%s: after %q come %q, error %v; want %v", what, since, got, err, tree.ErrNotExist)
	}
}

func TestChangesAreAsTheyWereAppended(t *testing.T) {
	j := openJournal(t, InMemory(), Options{})
	all := []tree.Change{
		{Name: "d/f", State: tree.State{Name: "d/f", Exists: true, Tag: `"new"`}, Old: `"old"`, OldFile: true,
			Cause:     "PUT",
			Principal: "ann", Time: time.Unix(1, 2)},
		{Name: "e", From: "d", State: tree.State{Name: "e", Exists: true, Collection: true}, Created: true,
			Cause: "MOVE",
			Time:  time.Unix(3, 0)},
		{Name: "e", State: tree.State{Name: "e"}, OldCollection: true, Cause: "DELETE", Time: time.Unix(3, 1)},
		{Name: "a\tb\nc\xff\"", State: tree.State{Name: "a\tb\nc\xff\""}, Cause: tree.CauseDisk, Again: true,
			Time: time.Unix(4, 0)},
	}
	if err := j.Append(all...); err != nil {
		t.Fatal(err)
	}
	if got, err := j.Read(""); len(got) != 0 || err != nil {
		t.Errorf("before they have happened, a reader gets %v, error %v", got, err)
	}
	j.Show()
	got, err := j.Read("")
	if err != nil || len(got) != len(all) {
		t.Fatalf("got %v, error %v", got, err)
	}
	for i, c := range got {
		all[i].Cursor = c.Cursor
		if fmt.Sprintf("%+v", c) != fmt.Sprintf("%+v", all[i]) {
			t.Errorf("got %+v\nwant %+v", c, all[i])
		}
	}
	if got[len(got)-1].Cursor != now(t, j) {
		t.Errorf("the last cursor is %q, and now is %q", got[len(got)-1].Cursor, now(t, j))
	}
}

func TestCursorsOutliveTheProcess(t *testing.T) {
	files := InMemory()
	j := openJournal(t, files, Options{})
	do(t, j, "a")
	after := now(t, j)
	do(t, j, "b")
	if err := j.Append(put("not yet")); err != nil { // and the process is killed
		t.Fatal(err)
	}
	j = openJournal(t, files, Options{})
	wantFollowed(t, "reopened", j, after, "b", "not yet")
	do(t, j, "c")
	wantFollowed(t, "later", j, after, "b", "not yet", "c")

	other := New(files, Options{Boot: "another boot"})
	if err := other.Load(); err != nil {
		t.Fatal(err)
	}
	wantForgotten(t, "in another boot", other, after)
	wantFollowed(t, "in another boot", other, now(t, other))
}

func TestWhatIsTakenBackWasNever(t *testing.T) {
	j := openJournal(t, InMemory(), Options{})
	begin := now(t, j)
	if err := j.Append(put("failed")); err != nil {
		t.Fatal(err)
	}
	j.TakeBack()
	if now(t, j) != begin {
		t.Error("the cursor has moved")
	}
	do(t, j, "a")
	wantFollowed(t, "then", j, begin, "a")
	if got, ok, err := j.Recent(begin, 10); !ok || err != nil || len(got) != 1 || got[0].Name != "a" {
		t.Errorf("the memory has %v, %v, error %v", got, ok, err)
	}
}

func TestOldChangesAreForgotten(t *testing.T) {
	clock := time.Unix(1e9, 0)
	files := InMemory()
	opts := Options{Segment: 1000, Most: 3, Now: func() time.Time { return clock }}
	j := openJournal(t, files, opts)
	begin := now(t, j)
	cursors, names := []tree.Cursor{}, []string{}
	for i := range 100 {
		cursors = append(cursors, now(t, j))
		names = append(names, fmt.Sprint("f", i))
		do(t, j, names[i])
	}
	wantForgotten(t, "too many", j, begin)
	if found, err := j.segments(); len(found) != 3 || err != nil {
		t.Errorf("there are %v, error %v", found, err)
	}
	first := 0
	for first < 100 {
		if _, err := follow(j, cursors[first]); err == nil {
			break
		}
		first++
	}
	if first > 90 {
		t.Fatalf("only the last %d are kept", 100-first)
	}
	for i := first; i < 100; i++ {
		wantFollowed(t, "kept", j, cursors[i], names[i:]...)
	}
	if got, err := follow(j, ""); err != nil || len(got) < 100-first {
		t.Errorf("from the beginning: %d, error %v", len(got), err)
	}

	for range 8 { // the last file is ended after a day
		clock = clock.Add(25 * time.Hour)
		if err := j.Trim(); err != nil {
			t.Fatal(err)
		}
	}
	wantForgotten(t, "too old", j, cursors[99])
	last := now(t, j)
	do(t, j, "later")
	wantFollowed(t, "the last cursor", j, last, "later")
}

func TestTwoProcessesWriteOneJournal(t *testing.T) {
	turns := new(int)
	for what, turn := range map[string]func(id int) Turn{
		"no turns":     func(int) Turn { return nil },
		"turns":        func(id int) Turn { return &fakeTurn{id: id, last: turns} },
		"unsure turns": func(id int) Turn { return &fakeTurn{id: id, last: turns, unsure: true} },
		"one is sure":  func(id int) Turn { return &fakeTurn{id: id, last: turns, unsure: id == 1} },
	} {
		t.Run(what, func(t *testing.T) { testTwoProcesses(t, turn(1), turn(2)) })
	}
}

func testTwoProcesses(t *testing.T, first, second Turn) {
	files := InMemory()
	opts := Options{Segment: 1500, Turn: first}
	a := openJournal(t, files, opts)
	opts.Turn = second
	b := openJournal(t, files, opts)
	begin, want := now(t, a), []string{}
	for i := range 60 {
		j := a
		if i%3 > 0 {
			j = b
		}
		want = append(want, fmt.Sprint("f", i))
		do(t, j, want[i])
	}
	if !a.Grown() {
		t.Error("the one does not notice what the other has appended")
	}
	if err := errors.Join(a.Adopt(), b.Adopt()); err != nil {
		t.Fatal(err)
	}
	if a.Grown() || b.Grown() || now(t, a) != now(t, b) {
		t.Errorf("they are at %q and %q", now(t, a), now(t, b))
	}
	wantFollowed(t, "the one", a, begin, want...)
	wantFollowed(t, "the other", b, begin, want...)
}

func TestLineThatIsNotWholeIsCutOff(t *testing.T) {
	whole := InMemory().(*memory)
	j := openJournal(t, whole, Options{})
	begin := now(t, j)
	do(t, j, "a")
	size := j.size
	do(t, j, "b")
	name := segment{j.head.id, j.head.base}.name()
	data := whole.files[name].data
	for n := size; n <= j.size; n++ {
		cut := InMemory().(*memory)
		cut.files[name] = &memoryFile{of: cut, data: slices.Clone(data[:n])}
		k := openJournal(t, cut, Options{})
		do(t, k, "c")
		want := []string{"a", "c"}
		if n == j.size {
			want = []string{"a", "b", "c"}
		}
		wantFollowed(t, fmt.Sprintf("cut off at %d of %d", n, j.size), k, begin, want...)
	}
	for n := range data {
		damaged := InMemory().(*memory)
		damaged.files[name] = &memoryFile{of: damaged, data: slices.Clone(data)}
		damaged.files[name].data[n] ^= 0x55
		k := openJournal(t, damaged, Options{})
		do(t, k, "c")
		if got, err := follow(k, begin); err == nil && !slices.Equal(got, []string{"a", "b", "c"}) && n < len(data)-1 {
			t.Errorf("with the byte %d damaged, it has %q", n, got)
		}
	}
}

func TestCursorsThatAreRefused(t *testing.T) {
	files := InMemory().(*memory)
	j := openJournal(t, files, Options{})
	do(t, j, "a")
	before := now(t, j)
	name := segment{j.head.id, j.head.base}.name()
	backup := slices.Clone(files.files[name].data)
	do(t, j, "b", "c")
	ahead := now(t, j)
	parts := strings.Split(string(before), ".")
	other := openJournal(t, InMemory(), Options{})
	for what, c := range map[string]tree.Cursor{
		"another journal":     now(t, other),
		"no cursor":           "x",
		"no position":         tree.Cursor(parts[0] + ".x." + parts[2]),
		"a wrong checksum":    tree.Cursor(parts[0] + "." + parts[1] + ".00000000"),
		"a negative position": tree.Cursor(parts[0] + ".-1." + parts[2]),
		"inside a line":       tree.Cursor(parts[0] + ".50." + parts[2]),
		"a later position":    tree.Cursor(parts[0] + ".ffffff." + parts[2]),
	} {
		wantForgotten(t, what, j, c)
		if got, ok, err := j.Recent(c, 10); ok || err == nil && what != "inside a line" &&
			what != "a negative position" {
			t.Errorf("%s: the memory has %v, error %v", what, got, err)
		}
	}
	// The disk is set back, and other changes come in place of those.
	files.files[name].data = backup
	j = openJournal(t, files, Options{})
	do(t, j, "B", "C")
	wantFollowed(t, "from before that", j, before, "B", "C")
	wantForgotten(t, "from the other time line", j, ahead)
}

func TestReadersBesideAWriter(t *testing.T) {
	j := openJournal(t, InMemory(), Options{Segment: 2000})
	begin := now(t, j)
	const changes = 300
	var want []string
	for i := range changes {
		want = append(want, fmt.Sprint("f", i))
	}
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			var got []string
			for since := begin; len(got) < changes; {
				more := j.More()
				found, err := j.Read(since)
				if errors.Is(err, tree.ErrNotExist) {
					return // it was too slow
				}
				if err != nil {
					t.Error(err)
					return
				}
				for _, c := range found {
					got, since = append(got, c.Name), c.Cursor
				}
				if len(found) == 0 {
					<-more
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("a reader has got %q", got)
			}
		})
	}
	do(t, j, want...)
	readers.Wait()
}

func TestMarks(t *testing.T) {
	files := InMemory()
	j := openJournal(t, files, Options{Segment: 300})
	do(t, j, "a")
	before := now(t, j)
	if err := j.Mark(77); err != nil || j.Busy() || now(t, j) != before {
		t.Errorf("error %v, busy %v, now %q; want %q", err, j.Busy(), now(t, j), before)
	}
	do(t, j, "b", "c", "d", "e", "f") // over the end of a file
	if k := openJournal(t, files, Options{}); k.Seen() != 77 || !k.Busy() {
		t.Errorf("reopened, the mark is %d, busy %v", k.Seen(), k.Busy())
	}
	wantFollowed(t, "over marks", j, before, "b", "c", "d", "e", "f")
}
