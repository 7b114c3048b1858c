//go:build unix

package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

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
		if err := s.Remove(s.At(name), see(t, s, name), How{Exact: true, Cause: "DELETE", Tag: tag}); err != nil {
			t.Fatal(err)
		}
	}
	remove("f", "tag of 2")
	tick()
	remove("d", "")
	remove("odd\tna\nme\xff", "")

	found := keeps(t, s, "f", "1", "2")
	if k := found[1]; k.Tag != "tag of 2" || k.Cause != "DELETE" || k.Late ||
		!k.Gone.Equal(c.now.Add(-20*time.Minute)) || k.Size != 1 {
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
	var inside []history.Kept
	for m, failed := range s.Inside(all[1]) {
		inside, err = append(inside, m), failed
	}
	if got := paths(t, inside, err); !slices.Equal(got, []string{"d/deep DELETE 2", "d/link DELETE 3"}) {
		t.Errorf("inside: got %q", got)
	}
	if target, err := s.ReadlinkKept(inside[1]); target != "deep" || err != nil {
		t.Errorf("the link leads to %q, error %v", target, err)
	}
	// Who only reads sees the same.
	keeps(t, openTest(t, dir, Options{ReadOnly: true}), "f", "1", "2")
}

// The history of a name costs no look at the entries of other names, and a large collection no more than is asked for.
func TestHistoryLooksAtLittle(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1", "g=1", "d/", "d/a=1", "d/b=1", "d/c=1")
	looks := 0
	s := openTest(t, dir, Options{History: true, Before: func(c vfs.Call) error {
		if c.Op == "lstat" && strings.Contains(c.Name, "/history/") {
			looks++
		}
		return nil
	}})
	for i := range 5 {
		replaceBy(t, s, "g", strconv.Itoa(i+2))
	}
	replaceBy(t, s, "f", "2")
	if err := s.Remove(s.At("d"), see(t, s, "d"), How{Exact: true, Cause: "DELETE"}); err != nil {
		t.Fatal(err)
	}
	looks = 0
	keeps(t, s, "f", "1")
	if looks != 1 {
		t.Errorf("%d looks for one version of f", looks)
	}
	all, err := s.History("d")
	if err != nil || len(all) != 1 {
		t.Fatalf("%d versions, error %v", len(all), err)
	}
	looks = 0
	for range s.Inside(all[0]) {
		break
	}
	if looks != 1 {
		t.Errorf("%d looks for one member of d", looks)
	}
}

func TestNoHistory(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1", "g=2")
	s := openTest(t, dir, Options{})
	replaceBy(t, s, "f", "new")
	if err := s.Remove(s.At("g"), see(t, s, "g"), How{Exact: true}); err != nil {
		t.Fatal(err)
	}
	keeps(t, s, "f")
	keeps(t, s, "g")
	if waiting, err := s.Entries(s.root.StatePath(volumes.TrashPart)); len(waiting) != 2 || err != nil {
		t.Errorf("in the trash: %q, error %v", waiting, err)
	}
}

func TestExpire(t *testing.T) {
	for _, test := range []struct {
		name string
		r    history.Retention
		want []string // of four versions, one in each hour, of 8 KiB each
	}{
		{"all are young enough", history.Retention{Keep: 24 * time.Hour}, []string{"0", "1", "2", "3"}},
		{"an hour counts from its end", history.Retention{Keep: 2 * time.Hour}, []string{"1", "2", "3"}},
		{"the oldest go first", history.Retention{Keep: 24 * time.Hour, Most: 40 << 10}, []string{"2", "3"}},
		{"not even one fits", history.Retention{Keep: 24 * time.Hour, Most: 1 << 10}, nil},
		{"who keeps nothing leaves what is there", history.Retention{}, []string{"0", "1", "2", "3"}},
		{"but not all of it", history.Retention{Most: 40 << 10}, []string{"2", "3"}},
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
			if size, known := s.HistorySize(); !known || size < int64(len(test.want))*(8<<10) ||
				size > int64(len(test.want))*(20<<10) {
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

// What a process leaves in the history that dies in a commit.
func TestRecoverHistory(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=old")
	gone := openTest(t, dir, Options{History: true})
	st, other := stageFile(t, gone, "never committed"), stageFile(t, gone, "new")
	enter := func(st *Staged, n history.Note) string {
		t.Helper()
		info, err := st.Info()
		if err != nil {
			t.Fatal(err)
		}
		return enterTest(t, gone.root, st.at.Name, "n"+strconv.FormatUint(info.Inode, 10), n)
	}
	enter(st, history.Note{Path: "f"})
	entry := enter(other, history.Note{Path: "f", Seen: see(t, gone, "f")})
	if err := gone.root.Exchange(entry, "f"); err != nil {
		t.Fatal(err)
	}
	abandon(gone)

	s := openTest(t, dir, Options{History: true})
	for range 2 {
		keeps(t, s, "f", "old")
		if err := recoverTest(t, s); err != nil {
			t.Errorf("got error %v", err)
		}
	}
	has(t, dir, "f", "new")
	keeps(t, s, "f", "old")
	all, err := filepath.Glob(filepath.Join(dir, volumes.OwnDir, volumes.HistoryPart, "*", "[nr]*"))
	if err != nil || len(all) != 1 {
		t.Errorf("there is %q, error %v", all, err)
	}
}

// That a version is not kept since it is too large is told, with its name; that the oldest goes is as it should be.
func TestTooLargeForTheHistory(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "large="+strings.Repeat("x", 300<<10), "small=1")
	c := newTestClock()
	s := openTest(t, dir, Options{History: true, Now: c.Now})
	told := logOf(s)
	r := history.Retention{Keep: 24 * time.Hour, Most: 256 << 10}
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

// A version is found by its ID, with what the last of its notes says. Many requests may ask at once, so that takes no
// memory for the notes of all others.
func TestKeptByID(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1", "d/", "d/g=2")
	s := openTest(t, dir, Options{History: true})
	removeTest(t, s, "d")
	replaceBy(t, s, "f", "3")
	all, err := s.History("")
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	of := all[1]
	var more []byte
	for i := range 5000 {
		more = append(more, history.Note{Entry: fmt.Sprint("r", i), Path: "other"}.Encode()...)
	}
	notes := path.Dir(of.ID()) + "/paths"
	appendTo(t, filepath.Join(dir, notes), string(more))
	s.root.history.Correct(s.At(of.ID()), history.Note{Path: "f", Cause: "corrected", Seen: of.Info})
	unnoted := path.Dir(of.ID()) + "/r-unnoted"
	lay(t, dir, unnoted+"=4")
	for id, want := range map[string]string{
		of.ID(): "f corrected 1", all[0].ID(): "d DELETE 2", all[0].ID() + "/g": "d/g DELETE 1",
		unnoted: " recovered 1",
	} {
		k, err := s.KeptByID(id)
		if got := paths(t, []history.Kept{k}, err)[0]; got != want {
			t.Errorf("%q: got %q, want %q", id, got, want)
		}
	}
	for _, id := range []string{notes, unnoted + "/x", path.Dir(unnoted) + "/none", "f", "", "../f"} {
		if k, err := s.KeptByID(id); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("%q: got %+v, error %v", id, k, err)
		}
	}
	if n := testing.AllocsPerRun(1, func() { _, _ = s.KeptByID(of.ID()) }); n > 1000 {
		t.Errorf("it allocates %v times", n)
	}
}
