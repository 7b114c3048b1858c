//go:build unix

package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// TestLateBytes: a program has a file open for writing when a new version replaces it, and goes on writing to the old one.
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
	if err := s.Remove(s.At("d"), see(t, s, "d"), How{Cause: "DELETE"}); err != nil {
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
	if err := errors.Join(os.WriteFile(made, []byte("1"), 0o666),
		os.Chtimes(made, time.Time{}, time.Unix(1, 0))); err != nil {
		t.Fatal(err)
	}
	// Looked at, it is a version of its own, and that is told once, also after a restart; a member stays in its
	// collection too.
	told := func(want ...string) {
		t.Helper()
		late, err := s.LateVersions(context.Background(), history.Retention{Keep: time.Hour})
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
	if k := keeps(t, s, "f", "1 and theirs"); k[0].Late || k[0].Cause != history.CauseLate {
		t.Errorf("got %+v", k)
	}
	k := keeps(t, s, "d/g", "1 and theirs", "1 and theirs")
	if !k[0].Late || k[1].Late || k[1].Cause != history.CauseLate {
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

// What has given way is looked at when it is new, and not again and again, unless a program has it open for writing.
func TestQuietVersionsAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	var looks map[string]int
	s := openTest(t, dir, Options{History: true, Now: c.Now, Before: func(c vfs.Call) error {
		base := filepath.Base(c.Name)
		if looks != nil && strings.Contains(c.Name, "/"+volumes.HistoryPart+"/") &&
			strings.ContainsAny(base[:1], "nr") {
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
	minute := func() (late []history.Kept, found map[string]int) {
		t.Helper()
		looks = map[string]int{}
		c.now = c.now.Add(time.Minute)
		r := history.Retention{Keep: 24 * time.Hour, Most: 1 << 30}
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
