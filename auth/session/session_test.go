package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// A clock is set by hand. It begins at a whole second, which every disk keeps.
type clock struct{ at time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time           { return c.at }
func (c *clock) pass(d time.Duration)     { c.at = c.at.Add(d) }
func (c *clock) table(store Store) *Table { return New(store, c.now) }

// served returns a directory that was served before, and the store of it.
func served(t *testing.T) (dir string, store Store) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, stateName), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir, Of(dir, "", func(err error) { t.Errorf("the disk has not taken a session: %v", err) })
}

// onEach runs a test with each kind of store.
func onEach(t *testing.T, test func(t *testing.T, store Store)) {
	t.Run("in memory", func(t *testing.T) { test(t, Memory()) })
	t.Run("on a disk", func(t *testing.T) {
		_, store := served(t)
		test(t, store)
	})
}

func begin(t *testing.T, table *Table, user string) string {
	t.Helper()
	id, err := table.Begin(t.Context(), Record{User: user, Token: "phone", Proof: "proof of " + user, From: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// found returns "found", "none", or another error.
func found(t *testing.T, table *Table, id string) string {
	t.Helper()
	switch s, err := table.Find(t.Context(), id); {
	case errors.Is(err, ErrNone):
		return "none"
	case err != nil:
		return err.Error()
	case s.User == "" || s.Proof != "proof of "+s.User || s.Token != "phone" || s.From != "192.0.2.1":
		return fmt.Sprintf("another session: %+v", s)
	}
	return "found"
}

func TestASessionIsFoundByItsIDAloneAndUntilItIsEnded(t *testing.T) {
	onEach(t, func(t *testing.T, store Store) {
		table := newClock().table(store)
		ann, bob := begin(t, table, "ann"), begin(t, table, "bob")
		if ann == bob || ann == begin(t, table, "ann") {
			t.Error("an id was given twice")
		}
		key, _ := KeyOf(ann)
		forged := []byte(ann)
		forged[len(forged)-2] ^= 1
		for _, id := range []string{"", "x", ann + "A", ann[1:], string(key), strings.Repeat("A", len(ann)), string(forged),
			"../" + ann[3:], bob[:10] + ann[10:]} {
			if got := found(t, table, id); got != "none" {
				t.Errorf("%q: %s", id, got)
			}
		}
		if a, b := found(t, table, ann), found(t, table, bob); a != "found" || b != "found" {
			t.Errorf("ann: %s, bob: %s", a, b)
		}
		all, err := table.All(t.Context())
		if err != nil || len(all) != 3 || all[0].User != "ann" || all[2].User != "bob" {
			t.Errorf("all: %+v, %v", all, err)
		}
		for range 2 { // it may be ended twice
			if err := table.End(t.Context(), key); err != nil {
				t.Error(err)
			}
		}
		if a, b := found(t, table, ann), found(t, table, bob); a != "none" || b != "found" {
			t.Errorf("after the end of ann's, ann: %s, bob: %s", a, b)
		}
	})
}

func TestASessionEndsWhenItIdlesAndInAnyCase(t *testing.T) {
	onEach(t, func(t *testing.T, store Store) {
		c := newClock()
		table := c.table(store)
		used, idle := begin(t, table, "ann"), begin(t, table, "bob")
		c.pass(Idle - time.Second)
		if got := found(t, table, used); got != "found" {
			t.Error(got)
		}
		c.pass(time.Second)
		if a, b := found(t, table, used), found(t, table, idle); a != "found" || b != "none" {
			t.Errorf("after 12 h the one that is used: %s, the other: %s", a, b)
		}
		for c.at.Before(newClock().at.Add(Lasts - time.Hour)) {
			c.pass(Idle / 2)
			if got := found(t, table, used); got != "found" && c.at.Before(newClock().at.Add(Lasts)) {
				t.Fatalf("%v: %s", c.at, got)
			}
		}
		c.at = newClock().at.Add(Lasts)
		if got := found(t, table, used); got != "none" {
			t.Errorf("after 30 days: %s", got)
		}
		if left, err := store.List(t.Context(), Most); err != nil || len(left) != 0 {
			t.Errorf("what has ended is kept: %v, %v", left, err)
		}
	})
}

// A look of an administrator, or of a stream of events, is no use.
func TestALookDoesNotKeepASessionAlive(t *testing.T) {
	onEach(t, func(t *testing.T, store Store) {
		c := newClock()
		table := c.table(store)
		id := begin(t, table, "ann")
		key, _ := KeyOf(id)
		c.pass(Idle - time.Second)
		if s, err := table.Look(t.Context(), key); err != nil || !s.Ends().Equal(c.at.Add(time.Second)) {
			t.Errorf("%+v, %v", s, err)
		}
		c.pass(time.Second)
		if _, err := table.Look(t.Context(), key); !errors.Is(err, ErrNone) {
			t.Error(err)
		}
	})
}

// A clock that is set back, as after a start without a network, must not keep a session for the difference.
func TestAClockThatGoesBackKeepsNoSession(t *testing.T) {
	onEach(t, func(t *testing.T, store Store) {
		c := newClock()
		c.pass(24 * time.Hour)
		table := c.table(store)
		id := begin(t, table, "ann")
		c.pass(-24 * time.Hour)
		if got := found(t, table, id); got != "found" {
			t.Fatal(got)
		}
		c.pass(Idle)
		if got := found(t, table, id); got != "none" {
			t.Errorf("12 hours after the last use: %s", got)
		}
	})
}

func TestSessionsAreBoundedAndTheOldestUseGivesWay(t *testing.T) {
	onEach(t, func(t *testing.T, store Store) {
		c := newClock()
		table := c.table(store)
		other := begin(t, table, "bob")
		var ids []string
		for range PerUser {
			c.pass(time.Second)
			ids = append(ids, begin(t, table, "ann"))
		}
		c.pass(accuracy)
		if got := found(t, table, ids[0]); got != "found" { // so that it is not the one that was not used for longest
			t.Fatal(got)
		}
		c.pass(time.Second)
		last := begin(t, table, "ann")
		for id, want := range map[string]string{ids[0]: "found", ids[1]: "none", ids[2]: "found", last: "found", other: "found"} {
			if got := found(t, table, id); got != want {
				t.Errorf("the session %d is %s, want %s", slices.Index(ids, id), got, want)
			}
		}
		if all, err := table.All(t.Context()); err != nil || len(all) != PerUser+1 {
			t.Errorf("%d sessions, %v", len(all), err)
		}
	})
}

func TestAllSessionsTogetherAreBounded(t *testing.T) {
	c := newClock()
	store := Memory()
	table := c.table(store)
	first := begin(t, table, "user")
	for i := range Most {
		key := Key(fmt.Sprintf("%016x-%064x", i+1, i))
		if err := store.Put(t.Context(), key, Record{User: "x"}, c.now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	last := begin(t, table, "user")
	if a, b := found(t, table, first), found(t, table, last); a != "none" || b != "found" {
		t.Errorf("the first: %s, the last: %s", a, b)
	}
	if all, err := store.List(t.Context(), 2*Most); err != nil || len(all) != Most {
		t.Errorf("%d sessions, %v", len(all), err)
	}
}

func TestADiskKeepsSessionsForTheNextProcessAndKeepsNoID(t *testing.T) {
	dir, store := served(t)
	c := newClock()
	id := begin(t, c.table(store), "ann")
	c.pass(time.Hour)
	again := c.table(Of(dir, "", func(err error) { t.Error(err) }))
	if got := found(t, again, id); got != "found" {
		t.Error(got)
	}
	kept := filepath.Join(dir, stateName, "sessions")
	files, err := os.ReadDir(kept)
	if err != nil || len(files) != 1 || !keyForm().MatchString(files[0].Name()) {
		t.Fatalf("%v, %v", files, err)
	}
	text, err := os.ReadFile(filepath.Join(kept, files[0].Name()))
	if err != nil || strings.Contains(string(text)+files[0].Name(), id) {
		t.Errorf("the id is in the file: %s, %v", text, err)
	}
	if info, err := os.Stat(filepath.Join(kept, files[0].Name())); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	key, _ := KeyOf(id)
	if err := again.End(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if got := found(t, c.table(store), id); got != "none" {
		t.Errorf("what one process has ended is, to another one: %s", got)
	}
}

func TestFilesThatAreNoSessionsAreNone(t *testing.T) {
	dir, store := served(t)
	table := newClock().table(store)
	ann, bob := begin(t, table, "ann"), begin(t, table, "bob")
	annKey, _ := KeyOf(ann)
	bobKey, _ := KeyOf(bob)
	at := func(key Key) string { return filepath.Join(dir, stateName, "sessions", string(key)) }
	text, err := os.ReadFile(at(annKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, torn := range map[string]string{
		"empty": "", "cut off": string(text[:len(text)/2]), "no JSON": "x", "of no user": "{}",
		"of another user": strings.ReplaceAll(string(text), "ann", "bob"),
		"long":            `{"user":"ann","proof":"` + strings.Repeat("x", maxRecord) + `"}`,
	} {
		if err := os.WriteFile(at(annKey), []byte(torn), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := found(t, table, ann); got != "none" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if err := os.WriteFile(at("note"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := table.All(t.Context()); err != nil || len(all) != 1 || all[0].Key != bobKey {
		t.Errorf("%v, %v", all, err)
	}
	begin(t, table, "cy") // a login removes sessions that have idled, and no other file
	if _, err := os.Stat(at("note")); err != nil {
		t.Error(err)
	}
}

// The disk may not be mounted: no user is logged out, and nothing is made in the empty directory.
func TestSessionsOfADiskThatIsAwayAreNotGone(t *testing.T) {
	dir, store := served(t)
	table := newClock().table(store)
	id := begin(t, table, "ann")
	state, away := filepath.Join(dir, stateName), filepath.Join(dir, "away")
	if err := os.Rename(state, away); err != nil {
		t.Fatal(err)
	}
	if got := found(t, table, id); got == "none" || got == "found" {
		t.Errorf("without the disk: %s", got)
	}
	key, _ := KeyOf(id)
	if err := table.End(t.Context(), key); err == nil {
		t.Error("a session was ended on a disk that is away")
	}
	var told []error
	other := newClock().table(Of(dir, "", func(err error) { told = append(told, err) }))
	if _, err := other.Begin(t.Context(), Record{User: "bob"}); err == nil || len(told) != 1 {
		t.Errorf("a login without the disk: %v, told %v", err, told)
	}
	if _, err := os.Lstat(state); err == nil {
		t.Error("a state was made where no disk is mounted")
	}
	if err := os.Rename(away, state); err != nil {
		t.Fatal(err)
	}
	if got := found(t, table, id); got != "found" {
		t.Errorf("with the disk again: %s", got)
	}
}

func TestAStateDirectoryHasAPartForEachServedDirectory(t *testing.T) {
	state := t.TempDir()
	one, other := t.TempDir(), t.TempDir()
	fail := func(err error) { t.Error(err) }
	c := newClock()
	id := begin(t, c.table(Of(one, state, fail)), "ann")
	if got := found(t, c.table(Of(one+string(filepath.Separator), state, fail)), id); got != "found" {
		t.Error(got)
	}
	if got := found(t, c.table(Of(other, state, fail)), id); got != "none" {
		t.Errorf("the session of another directory: %s", got)
	}
}

// failing has no working List, as a disk that goes away in the middle of a login.
type failing struct{ Store }

var errDisk = errors.New("the disk is away")

func (failing) List(context.Context, int) ([]Used, error) { return nil, errDisk }

func TestALoginThatCannotBeBoundedFails(t *testing.T) {
	if _, err := newClock().table(failing{Memory()}).Begin(t.Context(), Record{User: "ann"}); !errors.Is(err, errDisk) {
		t.Error(err)
	}
}
