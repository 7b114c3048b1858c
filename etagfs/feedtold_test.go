package etagfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestChangeOverAnOldFileIsToldOnce: the watcher tells of the removal of the version that a commit exchanges. That is
// no news, though nothing was told of the name since the start, because followers know of the old version.
func TestChangeOverAnOldFileIsToldOnce(t *testing.T) {
	dir := t.TempDir()
	w := openWatched(t, dir)
	if !w.below.Abilities().FineTimes {
		t.Skip("NOT RUN: no time of change proves here that a file was not moved")
	}
	for _, name := range []string{"put", "deleted", "over", "patched"} {
		w.write(t, name, "old")
	}
	w.write(t, "source", "x")
	w.Changed("put", "deleted", "over", "patched", "source")
	if err := put(w, "other", "x", tree.Condition{}); err != nil { // so that there is something to note
		t.Fatal(err)
	}
	w.close()
	w = openWatched(t, dir)
	begin := now(t, w)
	if err := errors.Join(put(w, "put", "1", tree.Condition{}), w.Remove(ctx, "deleted", tree.Condition{}),
		move("source", "over")(w), w.PatchProperties(ctx, "patched", patch("a", "1"), tree.Condition{})); err != nil {
		t.Fatal(err)
	}
	w.Removed("put", "deleted", "over", "source")
	w.Changed("put", "over", "patched")
	want := []string{"PUT put", "DELETE deleted gone", "MOVE over", "PROPPATCH patched"}
	wantChanges(t, "old files", w, begin, want...)
	all, _ := followed(t, w, begin)
	for i, c := range all {
		if i < len(want) && !c.OldFile {
			t.Errorf("%s %s: followers do not know that a file was there", c.Cause, c.Name)
		}
	}

	// What another program has brought there since is not known. A follower may still have a collection there.
	begin = now(t, w)
	w.write(t, "new", "x")
	if err := errors.Join(os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "put")),
		put(w, "put", "2", tree.Condition{})); err != nil {
		t.Fatal(err)
	}
	w.Removed("put")
	wantChanges(t, "what another program has brought", w, begin, "PUT put", "disk put")
	if all, _ := followed(t, w, begin); len(all) > 0 && all[0].OldFile {
		t.Error("that a file was there is taken for known")
	}
}

// TestCollectionThatCameBackIsTold: another program has moved a collection away and back before the watcher tells of
// it. A follower that has listed in between lacks the collection.
func TestCollectionThatCameBackIsTold(t *testing.T) {
	dir := t.TempDir()
	w := openWatched(t, dir)
	if err := errors.Join(lay("d/")(w), w.Remove(ctx, "d", tree.Condition{})); err != nil {
		t.Fatal(err)
	}
	w.Removed("d")
	begin := now(t, w)
	if err := lay("d/", "d/f=1")(w); err != nil {
		t.Fatal(err)
	}
	w.Changed("d")
	wantChanges(t, "made again", w, begin, "MKCOL d", "PUT d/f")
	begin = now(t, w)
	tick(t) // two changes of one tick of the clock may be told twice
	d, e := filepath.Join(dir, "d"), filepath.Join(dir, "e")
	if err := errors.Join(os.Rename(d, e), os.Rename(e, d)); err != nil {
		t.Fatal(err)
	}
	w.Removed("d")
	w.Changed("d")
	wantChanges(t, "away and back", w, begin, "disk d again")
}

// TestMemberOfAReplacedCollectionIsNoNews: the watcher tells of members that a MOVE of the store has brought, when
// another MOVE has replaced the collection. Members that another program has removed from the new one are told.
func TestMemberOfAReplacedCollectionIsNoNews(t *testing.T) {
	w := openWatched(t, t.TempDir())
	if err := errors.Join(lay("www/", "next/", "next/old=1", "next/both=1")(w), move("next", "www")(w)); err != nil {
		t.Fatal(err)
	}
	begin := now(t, w)
	if err := lay("next/", "next/both=2")(w); err != nil {
		t.Fatal(err)
	}
	tick(t) // two changes of one tick of the clock may be told twice
	if err := move("next", "www")(w); err != nil {
		t.Fatal(err)
	}
	w.Changed("www/old", "www/both")
	wantChanges(t, "a second publication", w, begin, "MKCOL next", "PUT next/both", "MOVE www")
	begin = now(t, w)
	w.Removed("www/gone")
	wantChanges(t, "what another program has removed", w, begin, "disk www/gone gone")
}

// TestMembersOfACollectionToListAgainAreNoNews: what a MOVE has replaced was not known, so the watcher's word of it
// lets followers list the collection again. That tells of all members, and the watcher's words of these are no news
// after it.
func TestMembersOfACollectionToListAgainAreNoNews(t *testing.T) {
	dir := t.TempDir()
	w := openWatched(t, dir)
	if !w.below.Abilities().FineTimes {
		t.Skip("NOT RUN: no time of change proves here that a file was not changed")
	}
	if err := lay("www/", "www/f=1", "next/", "next/f=2", "next/g=2", "next/d/", "next/d/h=2")(w); err != nil {
		t.Fatal(err)
	}
	w.kill()
	w = openWatched(t, dir)
	begin := now(t, w)
	if err := move("next", "www")(w); err != nil {
		t.Fatal(err)
	}
	tick(t)
	w.Removed("www", "next")
	now(t, w)
	w.Changed("www/f", "www/g", "www/d", "www/d/h")
	wantChanges(t, "members", w, begin, "MOVE www", "disk www again")
	begin = now(t, w)
	w.write(t, "www/g", "theirs")
	w.told("www/g")
	wantChanges(t, "what a program has written", w, begin, "disk www/g")
}
