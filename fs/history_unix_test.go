//go:build unix

package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A clock that a test moves.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newTestClock() *clock { return &clock{time.Date(2026, 1, 2, 3, 30, 0, 0, time.UTC)} }

// replaceBy commits a new version of a file, whatever is there.
func replaceBy(t *testing.T, s *FS, name, content string) {
	t.Helper()
	st := stageFile(t, s, content)
	defer st.Discard()
	if err := s.Commit(st, name, see(t, s, name), How{Cause: "PUT"}); err != nil {
		t.Fatal(err)
	}
}

func paths(t *testing.T, found []Kept, err error) (all []string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range found {
		all = append(all, fmt.Sprintf("%s %s %d", k.Path, k.Cause, k.Kind))
	}
	return all
}

func TestHistory(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1", "d/", "d/deep/", "d/deep/g=inner", "d/link => deep", "odd\tna\nme\xff=x")
	c := newTestClock()
	s := openTest(t, dir, Options{History: true, Now: c.Now})
	tick := func() { c.now = c.now.Add(20 * time.Minute) }
	replaceBy(t, s, "f", "2")
	tick()
	replaceBy(t, s, "d/deep/g", "inner 2")
	tick() // the next hour
	remove := func(name, tag string) {
		t.Helper()
		if err := s.Remove(name, see(t, s, name), How{Exact: true, Cause: "DELETE", Tag: tag}); err != nil {
			t.Fatal(err)
		}
	}
	remove("f", "tag of 2")
	tick()
	remove("d", "")
	remove("odd\tna\nme\xff", "")

	found := keeps(t, s, "f", "1", "2")
	if k := found[1]; k.Tag != "tag of 2" || k.Cause != "DELETE" || k.Late || !k.Gone.Equal(c.now.Add(-20*time.Minute)) || k.Size != 1 {
		t.Errorf("got %+v", k)
	}
	keeps(t, s, "d/deep/g", "inner", "inner 2") // the second one in the removed tree
	keeps(t, s, "odd\tna\nme\xff", "x")
	keeps(t, s, "g")
	for _, test := range []struct {
		name string
		want []string
	}{
		{"d", []string{"d/deep/g PUT 1", "d DELETE 2"}},
		{"d/deep", []string{"d/deep/g PUT 1", "d/deep DELETE 2"}},
		{"d/link", []string{"d/link DELETE 3"}},
		{"d/dee", nil},
		{"", []string{"f PUT 1", "d/deep/g PUT 1", "f DELETE 1", "d DELETE 2", "odd\tna\nme\xff DELETE 1"}},
	} {
		all, err := s.History(test.name)
		if got := paths(t, all, err); !slices.Equal(got, test.want) {
			t.Errorf("of %q: got %q, want %q", test.name, got, test.want)
		}
	}
	all, err := s.History("d")
	if err != nil {
		t.Fatal(err)
	}
	inside, err := s.Inside(all[1])
	if got := paths(t, inside, err); !slices.Equal(got, []string{"d/deep DELETE 2", "d/link DELETE 3"}) {
		t.Errorf("inside: got %q", got)
	}
	if target, err := s.ReadlinkKept(inside[1]); target != "deep" || err != nil {
		t.Errorf("the link leads to %q, error %v", target, err)
	}
	// Who only reads sees the same.
	keeps(t, openTest(t, dir, Options{ReadOnly: true}), "f", "1", "2")
}

func TestNoHistory(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1", "g=2")
	s := openTest(t, dir, Options{})
	replaceBy(t, s, "f", "new")
	if err := s.Remove("g", see(t, s, "g"), How{Exact: true}); err != nil {
		t.Fatal(err)
	}
	keeps(t, s, "f")
	keeps(t, s, "g")
	if waiting, err := s.Entries(s.root.StatePath(volumes.TrashPart)); len(waiting) != 2 || err != nil {
		t.Errorf("in the trash: %q, error %v", waiting, err)
	}
}

// stampsPass waits until the stamps of files, which move by ticks of the kernel's clock, are later than a time.
func stampsPass(t *testing.T, moment time.Time) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "stamped")
	for deadline := time.Now().Add(time.Minute); ; {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.ModTime().After(moment) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the stamps of files stand still")
		}
	}
}

// A program that has a file open when that gives way goes on writing to it.
func TestLateBytes(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1", "d/", "d/e/", "d/g=1", "d/e/quiet=1", "d/linked=1")
	s := openTest(t, dir, Options{History: true})
	var open []*os.File
	for _, name := range []string{"f", "d/g"} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		open = append(open, f)
	}
	replaceBy(t, s, "f", "ours")
	if err := s.Remove("d", see(t, s, "d"), How{Cause: "DELETE"}); err != nil {
		t.Fatal(err)
	}
	if k := keeps(t, s, "f", "1"); k[0].Late {
		t.Errorf("nothing was written: got %+v", k)
	}
	stampsPass(t, time.Now())
	for _, f := range open {
		if _, err := f.WriteString(" and theirs"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"f", "d/g"} {
		if k := keeps(t, s, name, "1 and theirs"); !k[0].Late || k[0].Tag != "" {
			t.Errorf("%s: got %+v", name, k)
		}
	}
	// A new name is not new content.
	kept, err := filepath.Glob(filepath.Join(dir, volumes.OwnDir, volumes.HistoryPart, "*", "r*", "linked"))
	if err == nil {
		err = os.Link(kept[0], filepath.Join(dir, "other"))
	}
	if err != nil {
		t.Fatal(err)
	}
	// A file that is made in the collection after that, with a date of before.
	made := filepath.Join(filepath.Dir(kept[0]), "e", "made")
	if err := errors.Join(os.WriteFile(made, []byte("1"), 0o666), os.Chtimes(made, time.Time{}, time.Unix(1, 0))); err != nil {
		t.Fatal(err)
	}
	// Looked at, it is a version of its own, and that is told once, also after a restart; a member stays in its collection too.
	told := func(want ...string) {
		t.Helper()
		late, err := s.LateVersions(context.Background(), Retention{Keep: time.Hour})
		var got []string
		for _, k := range late {
			got = append(got, k.Path+" "+k.Cause)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || err != nil {
			t.Errorf("late are %q, error %v, want %q", got, err, want)
		}
	}
	told("d/e/made DELETE", "d/g DELETE", "f PUT")
	told()
	s = openTest(t, dir, Options{History: true})
	told()
	if k := keeps(t, s, "f", "1 and theirs"); k[0].Late || k[0].Cause != CauseLate {
		t.Errorf("got %+v", k)
	}
	if k := keeps(t, s, "d/g", "1 and theirs", "1 and theirs"); !k[0].Late || k[1].Late || k[1].Cause != CauseLate {
		t.Errorf("got %+v", k)
	}
	keeps(t, s, "d/e/quiet", "1")
	// And what comes still later.
	if _, err := open[1].WriteString(", again"); err != nil {
		t.Fatal(err)
	}
	told("d/g late")
	keeps(t, s, "d/g", "1 and theirs, again", "1 and theirs, again")
	has(t, dir, "f", "ours")
}

func TestExpire(t *testing.T) {
	for _, test := range []struct {
		name string
		r    Retention
		want []string // of four versions, one in each hour, of 8 KiB each
	}{
		{"all are young enough", Retention{Keep: 24 * time.Hour}, []string{"0", "1", "2", "3"}},
		{"an hour counts from its end", Retention{Keep: 2 * time.Hour}, []string{"1", "2", "3"}},
		{"the oldest go first", Retention{Keep: 24 * time.Hour, Most: 40 << 10}, []string{"2", "3"}},
		{"not even one fits", Retention{Keep: 24 * time.Hour, Most: 1 << 10}, nil},
		{"who keeps nothing leaves what is there", Retention{}, []string{"0", "1", "2", "3"}},
		{"but not all of it", Retention{Most: 40 << 10}, []string{"2", "3"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "f=0"+strings.Repeat(" ", 5000))
			c := newTestClock()
			s := openTest(t, dir, Options{History: true, Now: c.Now})
			for i := range 4 {
				replaceBy(t, s, "f", fmt.Sprint(i+1, strings.Repeat(" ", 5000)))
				c.now = c.now.Add(time.Hour)
			}
			c.now = c.now.Add(-time.Hour)
			for range 2 { // the second time by what is known
				if err := s.Expire(context.Background(), test.r); err != nil {
					t.Fatal(err)
				}
				all, err := s.History("f")
				var got []string
				for _, k := range all {
					f, _, err := s.OpenKept(k)
					if err != nil {
						t.Fatal(err)
					}
					data, err := readAll(f, 1)
					f.Close()
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(data))
				}
				if !slices.Equal(got, test.want) || err != nil {
					t.Errorf("got %q, want %q, error %v", got, test.want, err)
				}
			}
			if size, known := s.HistorySize(); !known || size < int64(len(test.want))*(8<<10) || size > int64(len(test.want))*(20<<10) {
				t.Errorf("it takes %d bytes", size)
			}
		})
	}
}

func TestMakeRoom(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1", "g=1")
	c := newTestClock()
	s := openTest(t, dir, Options{History: true, Now: c.Now})
	replaceBy(t, s, "f", "2")
	c.now = c.now.Add(3 * time.Hour)
	replaceBy(t, s, "g", "2")
	for _, want := range []struct{ f, g []string }{{nil, []string{"1"}}, {nil, nil}} {
		if !s.MakeRoom(t.Context(), syscall.ENOSPC, "h") {
			t.Error("it frees nothing")
		}
		keeps(t, s, "f", want.f...)
		keeps(t, s, "g", want.g...)
	}
	if s.MakeRoom(t.Context(), syscall.ENOSPC, "h") {
		t.Error("nothing is left, and it frees some")
	}
	if waiting, err := s.Entries(s.root.StatePath(volumes.TrashPart)); len(waiting) != 0 || err != nil {
		t.Errorf("in the trash: %q, error %v", waiting, err)
	}
}

// enterTest makes an entry of the history whose name begins with a prefix.
func enterTest(t *testing.T, v *volume, name, prefix string, n history.Note) (entry string) {
	t.Helper()
	removed := v.history.NewEntry(n.Seen.Size)
	entry = path.Dir(removed) + "/" + prefix + "-" + path.Base(removed)
	if err := v.history.ArchiveAs(entry, name, n); err != nil {
		t.Fatal(err)
	}
	return entry
}

// What a process leaves in the history that dies in a commit.
func TestRecoverHistory(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "moved=1", "taken=2", "f=old", "g=also old")
	gone := openTest(t, dir, Options{History: true})
	st, other := stageFile(t, gone, "never committed"), stageFile(t, gone, "new")
	enter := func(name, prefix string, info Info, n history.Note) string {
		t.Helper()
		return enterTest(t, gone.root, name, prefix+strconv.FormatUint(info.Inode, 10), n)
	}
	staged := func(st *Staged) Info {
		info, err := st.Info()
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	enter(st.at.Name, "n", staged(st), history.Note{Path: "f"})
	entry := enter(other.at.Name, "n", staged(other), history.Note{Path: "f", Seen: see(t, gone, "f")})
	if err := gone.calls.Exchange(entry, "f"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"moved", "taken"} {
		enter(name, "m", see(t, gone, name), history.Note{Path: "g", From: name, Seen: see(t, gone, "g")})
	}
	lay(t, dir, "taken=by a local program")
	abandon(gone)

	s := openTest(t, dir, Options{History: true})
	keeps(t, s, "f", "old")
	keeps(t, s, "g")
	if err := recoverTest(t, s); err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("got error %v", err)
	}
	if err := recoverTest(t, s); err != nil {
		t.Errorf("again: got error %v", err)
	}
	has(t, dir, "f", "new")
	has(t, dir, "g", "also old")
	has(t, dir, "moved", "1")
	has(t, dir, "taken", "by a local program")
	keeps(t, s, "f", "old")
	keeps(t, s, "g")
	keeps(t, s, "moved")
	keeps(t, s, "taken", "2")
	all, err := filepath.Glob(filepath.Join(dir, volumes.OwnDir, volumes.HistoryPart, "*", "[nmr]*"))
	if err != nil || len(all) != 2 {
		t.Errorf("there is %q, error %v", all, err)
	}
}

// A local program comes between at a call of a commit that means to replace, move or remove exactly what was seen.
func TestCompareAndExchange(t *testing.T) {
	type step struct {
		op string
		do func(dir string) error
	}
	write := func(name, content string) func(string) error {
		return func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "tmp"), []byte(content), 0o666),
				os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, name)))
		}
	}
	inPlace := func(name, content string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666) }
	}
	remove := func(name string) func(string) error {
		return func(dir string) error { return os.Remove(filepath.Join(dir, name)) }
	}
	commit := func(t *testing.T, s *FS, how How) error {
		st := stageFile(t, s, "ours")
		defer st.Discard()
		return s.Commit(st, "f", see(t, s, "f"), how)
	}
	move := func(t *testing.T, s *FS, how How) error { return moveTest(s, "f", see(t, s, "f"), "g", Info{}, how) }
	over := func(t *testing.T, s *FS, how How) error {
		return moveTest(s, "o", see(t, s, "o"), "f", see(t, s, "f"), how)
	}
	unlink := func(t *testing.T, s *FS, how How) error { return s.Remove("f", see(t, s, "f"), how) }
	for _, test := range []struct {
		name    string
		do      func(t *testing.T, s *FS, how How) error
		between []step // each once, in this order
		any     bool   // whatever version is there
		err     error
		want    string   // what f has then; "" for nothing
		o       string   // what o has, unless as before
		kept    []string // in the history of f
	}{
		{name: "nobody", do: commit, want: "ours", kept: []string{"seen"}},
		{name: "replaced before the look", do: commit, between: []step{{"lease", write("f", "theirs")}}, err: ErrMoved, want: "theirs"},
		{name: "rewritten before the look", do: commit, between: []step{{"lease", inPlace("f", "theirs")}}, err: ErrMoved, want: "theirs"},
		{name: "replaced at the exchange", do: commit, between: []step{{"exchange", write("f", "theirs")}}, err: ErrMoved, want: "theirs"},
		{name: "removed at the exchange", do: commit, between: []step{{"exchange", remove("f")}}, err: ErrMoved},
		{name: "replaced again when it is taken back", do: commit,
			between: []step{{"exchange", write("f", "theirs")}, {"exchange", write("f", "third")}}, err: errStagedLost,
			want: "third", kept: []string{"theirs"}},
		{name: "replaced again and again", do: commit,
			between: []step{{"exchange", write("f", "theirs")}, {"exchange", write("f", "third")}, {"exchange", write("f", "fourth")}}, err: errStagedLost,
			want: "fourth", kept: []string{"third"}},
		{name: "written to before it is taken back", do: commit,
			between: []step{{"exchange", write("f", "theirs")}, {"exchange", inPlace("f", "late")}}, err: errStagedLost,
			want: "theirs", kept: []string{"late"}},
		{name: "removed when it is taken back", do: commit,
			between: []step{{"exchange", write("f", "theirs")}, {"exchange", remove("f")}}, err: errStagedLost, kept: []string{"theirs"}},
		{name: "replaced, and any version may be", do: commit, any: true,
			between: []step{{"exchange", write("f", "theirs")}}, want: "ours", kept: []string{"theirs"}},
		{name: "a directory now, and any version may be replaced", do: commit, any: true,
			between: []step{{"exchange", func(dir string) error {
				return errors.Join(os.Remove(filepath.Join(dir, "f")), os.Mkdir(filepath.Join(dir, "f"), 0o777))
			}}}, err: ErrMoved, want: "directory"},

		{name: "moved", do: move},
		{name: "replaced at the move", do: move, between: []step{{"renameNew", write("f", "theirs")}}, err: ErrMoved, want: "theirs"},
		{name: "replaced at the move, and made anew", do: move,
			between: []step{{"renameNew", write("f", "theirs")}, {"renameNew", write("f", "third")}}, err: ErrMoved,
			want: "third", kept: []string{"theirs"}},
		{name: "removed at the move", do: move, between: []step{{"renameNew", remove("f")}}, err: ErrMoved},

		{name: "moved over", do: over, want: "other", o: "nothing", kept: []string{"seen"}},
		{name: "the source replaced at the move over", do: over, between: []step{{"exchange", write("o", "theirs")}}, err: ErrMoved, want: "seen", o: "theirs"},
		{name: "the source replaced at the move over, any version may be replaced", do: over, any: true,
			between: []step{{"exchange", write("o", "theirs")}}, err: ErrMoved, want: "seen", o: "theirs"},
		{name: "the source removed at the move over", do: over, between: []step{{"exchange", remove("o")}}, err: ErrMoved, want: "seen", o: "nothing"},
		// Nobody can tell whether what gave way was replaced before the exchange or after it: it is kept.
		{name: "the target replaced at the move over", do: over, between: []step{{"exchange", write("f", "theirs")}}, err: ErrMoved,
			want: "theirs", kept: []string{"seen"}},
		{name: "the target removed at the move over", do: over, between: []step{{"exchange", remove("f")}}, err: ErrMoved},
		// Of each name the other one has what a local program gave it last, and its own what it was given before.
		{name: "the target replaced twice at the move over", do: over,
			between: []step{{"exchange", write("f", "theirs")}, {"exchange", write("f", "third")}}, err: ErrMoved,
			want: "theirs", o: "third", kept: []string{"seen"}},
		{name: "the source saved anew after the move over", do: over,
			between: []step{{"renameNew", write("o", "saved")}}, want: "other", o: "saved", kept: []string{"seen"}},
		{name: "the source saved twice after the move over", do: over,
			between: []step{{"renameNew", write("o", "saved")}, {"renameNew", write("o", "again")}}, want: "other", o: "again",
			kept: []string{"seen"}},
		{name: "the source removed after the move over", do: over,
			between: []step{{"renameNew", remove("o")}}, want: "other", o: "nothing", kept: []string{"seen"}},

		{name: "removed", do: unlink, kept: []string{"seen"}},
		{name: "replaced at the removal", do: unlink, between: []step{{"renameNew", write("f", "theirs")}}, err: ErrMoved, want: "theirs"},
		{name: "replaced at the removal, any version may be", do: unlink, any: true,
			between: []step{{"renameNew", write("f", "theirs")}}, kept: []string{"theirs"}},
		{name: "replaced at the removal, and made anew", do: unlink,
			between: []step{{"renameNew", write("f", "theirs")}, {"renameNew", write("f", "third")}}, err: ErrMoved,
			want: "third", kept: []string{"theirs"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "f=seen", "o=other")
			var between []step
			s := openTest(t, dir, Options{History: true, Before: func(c Call) error {
				if len(between) == 0 || c.Op != between[0].op {
					return nil
				}
				do := between[0].do
				between = between[1:]
				return do(dir)
			}})
			able := s.Abilities()
			if !able.Exchange || !able.Leases {
				t.Fatalf("this needs exchange and leases: %s", able)
			}
			// The directory of the hour is there.
			lay(t, dir, "warm=1")
			if err := s.Remove("warm", see(t, s, "warm"), How{}); err != nil {
				t.Fatal(err)
			}
			between = test.between
			if err := test.do(t, s, How{Exact: !test.any, Cause: "PUT"}); !errors.Is(err, test.err) {
				t.Errorf("got error %v, want %v", err, test.err)
			}
			if len(between) != 0 {
				t.Errorf("it did not come to %d of the local program's steps", len(between))
			}
			content := func(name string) string {
				data, err := os.ReadFile(filepath.Join(dir, name))
				switch {
				case errors.Is(err, os.ErrNotExist):
					return ""
				case err != nil:
					return "directory"
				}
				return string(data)
			}
			if got := content("f"); got != test.want {
				t.Errorf("f has %q, want %q", got, test.want)
			}
			o := map[string]string{"": "other", "nothing": ""}
			want, ok := o[test.o]
			if !ok {
				want = test.o
			}
			if got := content("o"); got != want {
				t.Errorf("o has %q, want %q", got, want)
			}
			keeps(t, s, "f", test.kept...)
			if left, err := s.Entries(s.root.Session); len(left) != 1 || err != nil {
				t.Errorf("staged: %q, error %v", left, err)
			}
		})
	}
}

// A program has the file open for writing, or wants to: a write that names a version waits for it, another one does not.
func TestWriterInTheWay(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=seen", "o=other")
	s := openTest(t, dir, Options{History: true})
	if !s.Abilities().Leases {
		t.Fatalf("this needs leases: %s", s.Abilities())
	}
	w, err := os.OpenFile(filepath.Join(dir, "f"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	st := stageFile(t, s, "ours")
	defer st.Discard()
	exact := How{Exact: true}
	for name, err := range map[string]error{
		"Commit":    s.Commit(st, "f", see(t, s, "f"), exact),
		"Move":      moveTest(s, "f", see(t, s, "f"), "g", Info{}, exact),
		"Move over": moveTest(s, "o", see(t, s, "o"), "f", see(t, s, "f"), exact),
		"Remove":    s.Remove("f", see(t, s, "f"), exact),
	} {
		if !errors.Is(err, ErrWriter) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	has(t, dir, "f", "seen")
	has(t, dir, "o", "other")
	keeps(t, s, "f")
	if err := s.Commit(st, "f", see(t, s, "f"), How{}); err != nil {
		t.Errorf("whatever is there: %v", err)
	}
	if _, err := w.WriteString(" and theirs"); err != nil {
		t.Fatal(err)
	}
	has(t, dir, "f", "ours")
	keeps(t, s, "f", "seen and theirs")
}

// What is discarded and cannot be removed is removed later, and before the history gives way.
func TestDiscardAgain(t *testing.T) {
	for name, again := range map[string]func(s *FS) error{
		"with the trash": func(s *FS) error { return s.EmptyTrash(t.Context()) },
		"to make room": func(s *FS) error {
			if !s.MakeRoom(t.Context(), syscall.ENOSPC, "h") {
				t.Error("it frees nothing")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "f=old")
			fails := 0
			s := openTest(t, dir, Options{History: true, Before: func(c Call) error {
				if c.Op == "removeAll" && fails > 0 {
					fails--
					return syscall.EMFILE
				}
				return nil
			}})
			replaceBy(t, s, "f", "new")
			first, second := stageFile(t, s, "1"), stageFile(t, s, "2")
			fails = 3
			for _, st := range []*Staged{first, second} {
				if err := st.Discard(); !errors.Is(err, syscall.EMFILE) {
					t.Errorf("Discard: got error %v", err)
				}
			}
			if err := s.EmptyTrash(t.Context()); !errors.Is(err, syscall.EMFILE) {
				t.Errorf("one cannot be removed yet: got error %v", err)
			}
			if err := again(s); err != nil {
				t.Error(err)
			}
			if left, err := s.Entries(s.root.Session); len(left) != 1 || err != nil {
				t.Errorf("staged: %q, error %v", left, err)
			}
			keeps(t, s, "f", "old")
		})
	}
}

// What has given way is looked at when it is new, and not again and again, unless a program has it open for writing.
func TestQuietVersionsAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	var looks map[string]int
	s := openTest(t, dir, Options{History: true, Now: c.Now, Before: func(c Call) error {
		base := filepath.Base(c.Name)
		if looks != nil && strings.Contains(c.Name, "/"+volumes.HistoryPart+"/") && strings.ContainsAny(base[:1], "nr") {
			looks[base]++
		}
		return nil
	}})
	const n = 50
	for i := range n {
		lay(t, dir, fmt.Sprint("f", i, "=1"))
	}
	lay(t, dir, "busy=1")
	w, err := os.OpenFile(filepath.Join(dir, "busy"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range n {
		replaceBy(t, s, fmt.Sprint("f", i), "2")
	}
	minute := func() (late []Kept, found map[string]int) {
		t.Helper()
		looks = map[string]int{}
		c.now = c.now.Add(time.Minute)
		r := Retention{Keep: 24 * time.Hour, Most: 1 << 30}
		late, err := s.LateVersions(t.Context(), r)
		if err := errors.Join(err, s.Expire(t.Context(), r)); err != nil {
			t.Error(err)
		}
		return late, looks
	}
	for range 2 {
		minute() // where nothing tells who has it open, it is looked at twice
	}
	if _, looks := minute(); len(looks) > 0 {
		t.Errorf("they are looked at again: %v", looks)
	}
	replaceBy(t, s, "busy", "2")
	for range 3 {
		if _, looks := minute(); len(looks) != 1 {
			t.Errorf("besides the one that is new and open for writing, it looks at %d", len(looks)-1)
		}
	}
	stampsPass(t, time.Now())
	if _, err := w.WriteString(" and theirs"); err != nil {
		t.Fatal(err)
	}
	if late, _ := minute(); len(late) != 1 || late[0].Path != "busy" {
		t.Errorf("late are %+v", late)
	}
	keeps(t, s, "busy", "1 and theirs")
	w.Close()
	minute()
	minute()
	if _, looks := minute(); len(looks) > 0 {
		t.Errorf("it is looked at when nobody has it open any more: %v", looks)
	}
	// Before they expire, all are looked at once more.
	c.now = c.now.Add(26 * time.Hour)
	if _, looks := minute(); len(looks) < n {
		t.Errorf("before they expire it looks at %d", len(looks))
	}
}

// That a version is not kept since it is too large is told, with its name; that the oldest goes is as it should be.
func TestTooLargeForTheHistory(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "large="+strings.Repeat("x", 300<<10), "small=1")
	c := newTestClock()
	s := openTest(t, dir, Options{History: true, Now: c.Now})
	told := logOf(s)
	r := Retention{Keep: 24 * time.Hour, Most: 256 << 10}
	expire := func() {
		t.Helper()
		if err := s.Expire(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	expire()
	for i := range 40 {
		replaceBy(t, s, "small", fmt.Sprint(i))
		c.now = c.now.Add(time.Second)
	}
	expire()
	if len(told.all) > 0 {
		t.Errorf("told: %q", told.all)
	}
	replaceBy(t, s, "large", "2")
	expire()
	if !told.has(`"large"`, "307200 bytes", "262144") || len(told.all) != 1 {
		t.Errorf("told: %q", told.all)
	}
	keeps(t, s, "large")
	// It has not pushed out what is small, and a collection is as large as all that is in it.
	if all, err := s.History("small"); len(all) < 10 || err != nil {
		t.Errorf("of what is small it keeps %d, error %v", len(all), err)
	}
	lay(t, dir, "d/", "d/e/", "d/e/1="+strings.Repeat("x", 160<<10), "d/e/2="+strings.Repeat("x", 160<<10))
	removeTest(t, s, "d")
	expire()
	if !told.has(`"d"`) {
		t.Errorf("told: %q", told.all)
	}
	keeps(t, s, "d/e/1")
	if all, err := s.History("small"); len(all) < 10 || err != nil {
		t.Errorf("of what is small it keeps %d, error %v", len(all), err)
	}
}

// What is discarded, or was removed, and cannot be deleted is told of once, and tried again after longer and longer pauses.
func TestUndeletable(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	var stuck string
	tries := 0
	s := openTest(t, dir, Options{Now: c.Now, Before: func(c Call) error {
		if c.Op == "removeAll" && (stuck == "" || c.Name == stuck) {
			stuck = c.Name
			tries++
			return &os.PathError{Op: "RemoveAll", Path: c.Name, Err: syscall.EACCES}
		}
		return nil
	}})
	lay(t, dir, "f=1", "g=2")
	for name, leave := range map[string]func(){
		"discarded": func() { stageFile(t, s, "1").Discard() },
		"removed":   func() { removeTest(t, s, "f"); lay(t, dir, "f=1") },
	} {
		leave()
		told := 0
		for range 60 {
			removeTest(t, s, "g")
			lay(t, dir, "g=2")
			if err := s.EmptyTrash(t.Context()); err != nil {
				if !errors.Is(err, iofs.ErrPermission) {
					t.Errorf("%s: got error %v", name, err)
				}
				told++
			}
			if !s.MakeRoom(t.Context(), syscall.ENOSPC, "h") {
				removeTest(t, s, "g")
				lay(t, dir, "g=2")
				if !s.MakeRoom(t.Context(), syscall.ENOSPC, "h") {
					t.Errorf("%s: it is in the way of the rest", name)
				}
			}
			c.now = c.now.Add(time.Second)
		}
		if left, err := s.Entries(s.root.StatePath(volumes.TrashPart)); len(left) > 1 || err != nil {
			t.Errorf("%s: in the trash: %q, error %v", name, left, err)
		}
		if told > 1 || tries < 3 || tries > 10 {
			t.Errorf("%s: told %d times after %d tries", name, told, tries)
		}
		stuck, tries = "nothing", 0
		c.now = c.now.Add(2 * time.Hour)
		if err := s.EmptyTrash(t.Context()); err != nil {
			t.Errorf("%s: it can be deleted now: %v", name, err)
		}
		left, err := s.Entries(s.root.StatePath(volumes.TrashPart))
		staged, failed := s.Entries(s.root.Session)
		if err := errors.Join(err, failed); err != nil || len(left) > 0 || len(staged) != 1 {
			t.Errorf("%s: there is left %q and %q, error %v", name, left, staged, err)
		}
		stuck = ""
	}
}
