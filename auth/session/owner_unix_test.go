//go:build unix

package session

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A directory into which others can write has no sessions: they could log in as each user. Users can log in still,
// until the process ends.
func TestSessionsThatOthersCouldHaveMadeAreNone(t *testing.T) {
	dir, store := served(t)
	c := newClock()
	id := begin(t, c.table(store), "ann")
	kept := filepath.Join(dir, stateName, "sessions")
	for _, mode := range []os.FileMode{0o770, 0o707, 0o777} {
		if err := os.Chmod(kept, mode); err != nil {
			t.Fatal(err)
		}
		var told []error
		table := c.table(Of(dir, "", func(err error) { told = append(told, err) }))
		if got := found(t, table, id); got != "none" {
			t.Errorf("%v: %s", mode, got)
		}
		other := begin(t, table, "bob")
		if got := found(t, table, other); got != "found" || len(told) != 1 || !errors.Is(told[0], errUntrusted) {
			t.Errorf("%v: a new login is %s, told %v", mode, got, told)
		}
		if all, err := table.All(t.Context()); err != nil || len(all) != 1 {
			t.Errorf("%v: %v, %v", mode, all, err)
		}
		key, _ := KeyOf(other)
		if err := table.End(t.Context(), key); err != nil || found(t, table, other) != "none" {
			t.Errorf("%v: %v", mode, err)
		}
	}
	if err := os.Chmod(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := found(t, c.table(store), id); got != "found" {
		t.Error(got)
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(kept, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if got := found(t, c.table(store), id); got != "none" {
		t.Errorf("of another user: %s", got)
	}
	if err := os.Chown(dir, 12345, -1); err != nil { // root's commands act as the owner of the served directory
		t.Fatal(err)
	}
	if got := found(t, c.table(store), id); got != "found" {
		t.Errorf("of the owner of the served directory: %s", got)
	}
}

// A session that root has made is of the owner of the served directory, so that the server may run as that user the
// next time.
func TestRootGivesSessionsToTheOwnerOfTheServedDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: it needs root")
	}
	dir, store := served(t)
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	id := begin(t, newClock().table(store), "ann")
	key, _ := KeyOf(id)
	kept := filepath.Join(dir, stateName, "sessions")
	for _, path := range []string{kept, filepath.Join(kept, string(key))} {
		info, err := os.Stat(path)
		if err != nil || checkOwner(info, dir) != nil {
			t.Fatal(info, err)
		}
		if user := ownerOf(info); user != 12345 {
			t.Errorf("%s is of user %d", path, user)
		}
	}
}
