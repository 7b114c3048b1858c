package etagfs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// lay makes files of a layout "name=content" below dir; "name -> target" is a link.
func lay(t *testing.T, dir string, layout ...string) {
	t.Helper()
	for _, line := range layout {
		if name, target, ok := strings.Cut(line, " -> "); ok {
			if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		name, content, _ := strings.Cut(line, "=")
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o777),
			os.WriteFile(file, []byte(content), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
}

// rested returns a clock by which everything was left alone for a while, so that tags are remembered without leases
// too.
func rested() *treetest.Clock {
	clock := treetest.NewClock()
	clock.Advance(10 * time.Second)
	return clock
}

func TestWarmUpHashesWhatIsNotKnown(t *testing.T) {
	if index.BootID() == "" {
		t.Log("nothing is kept on disk here, so there is nothing to be warm for")
		return
	}
	dir, index := t.TempDir(), t.TempDir()
	lay(t, dir, "f=1", "a/g=22", "a/b/c/h=333", ".ifmatch/x=no", "link -> f", "loop -> .")
	for round, want := range []Progress{
		{Files: 3, Bytes: 6, Hashed: 3, HashedBytes: 6, Done: true},
		{Files: 3, Bytes: 6, Done: true},
	} {
		through := make(chan Progress, 1)
		s, hashed := openStore(t, dir, Options{
			IndexDir: index, WarmUp: 2, Now: rested().Now, Report: func(err error) { t.Error(err) },
			Progress: func(p Progress) { through <- p },
		})
		got := <-through
		if !s.knows("f") || !s.knows("a/g") || !s.knows("a/b/c/h") {
			t.Error("not all is known")
		}
		got.Took = 0
		if got != want {
			t.Errorf("round %d: told %+v, want %+v", round, got, want)
		}
		if n := int64(hashed.Load()); n != want.Hashed {
			t.Errorf("round %d: %d files were hashed, want %d", round, n, want.Hashed)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRescanFindsWhatNoEventTold(t *testing.T) {
	if index.BootID() == "" {
		t.Log("nothing is kept on disk here, so nothing is searched")
		return
	}
	dir := t.TempDir()
	through := make(chan Progress, 8)
	s, _ := openStore(t, dir,
		Options{IndexDir: t.TempDir(), WarmUp: 1, Now: rested().Now, Progress: func(p Progress) { through <- p }})
	defer s.Close()
	<-through
	lay(t, dir, "d/f=1")
	s.Rescan()
	treetest.Eventually(t, "that it is known", func() bool { return s.knows("d/f") })
}

// TestAnswersThatDoNotWait: what is not known when an answer may wait no longer is left out, and hashed soon after.
func TestAnswersThatDoNotWait(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "stat=1", "open=2", "d/listed=3", "check=4", "sums=5")
	s, _ := openStore(t, dir, Options{Now: rested().Now, Report: func(err error) { t.Error(err) }})
	defer s.Close()
	now := time.Now()
	hurried := func(want tree.Want) tree.ReadOptions { return tree.ReadOptions{Want: want, TagDeadline: now} }
	if state, err := s.Stat(t.Context(), "stat", hurried(tree.WantTag)); err != nil || state.Tag != "" ||
		state.Size != 1 {
		t.Errorf("Stat: got %+v, error %v", state, err)
	}
	if content, state, err := s.Open(t.Context(), "open", hurried(tree.WantTag), tree.Condition{}); err != nil ||
		state.Tag != "" || state.Size != 1 {
		t.Errorf("Open: got %+v, error %v", state, err)
	} else {
		content.Close()
	}
	for state, err := range s.List(t.Context(), "d", tree.ListOptions{Want: tree.WantTag, TagDeadline: now, Depth: 1},
		tree.Condition{}) {
		if state.Collection {
			continue
		}
		if err != nil || state.Tag != "" || state.Size != 1 {
			t.Errorf("List: got %+v, error %v", state, err)
		}
	}
	for _, want := range []tree.Want{0, tree.WantTag} { // not known, and known without the other hashes
		if _, err := s.Stat(t.Context(), "sums", tree.ReadOptions{Want: want}); err != nil {
			t.Error(err)
		}
		state, err := s.Stat(t.Context(), "sums", hurried(tree.WantTag|tree.WantSums))
		if err != nil || len(state.Sums) != int(want) {
			t.Errorf("hashes: got %+v, error %v", state, err)
		}
	}
	for _, name := range []string{"stat", "open", "d/listed"} {
		treetest.Eventually(t, "that it is known: "+name, func() bool { return s.knows(name) })
		if state, err := s.Stat(t.Context(), name, hurried(tree.WantTag)); err != nil || state.Tag == "" {
			t.Errorf("what is known is told: got %+v, error %v", state, err)
		}
	}
	treetest.Eventually(t, "that all sums are known", func() bool {
		state, err := s.Stat(t.Context(), "sums", hurried(tree.WantTag|tree.WantSums))
		return err == nil && len(state.Sums) == 3
	})
	// A condition waits.
	if err := s.Try(t.Context(), treetest.IfTag("check", treetest.TagOf("4"))); err != nil {
		t.Error(err)
	}
}

// TestSumsAreComputedOnce: who asks while they are computed waits for that, and goes on alone if the other gives up.
func TestSumsAreComputedOnce(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1")
	reading, goOn := make(chan struct{}, 8), make(chan struct{})
	var known atomic.Bool
	s, hashed := openHooked(t, dir, Options{Now: rested().Now}, func(c vfs.Call) error {
		if known.Load() && c.Op == "readAt" && c.Name == "f" {
			reading <- struct{}{}
			<-goOn
		}
		return nil
	})
	defer s.Close()
	if _, err := s.Stat(t.Context(), "f", tree.ReadOptions{Want: tree.WantTag}); err != nil {
		t.Fatal(err)
	}
	known.Store(true)
	before := hashed.Load()
	first, giveUp := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		if _, err := s.Stat(first, "f", tree.ReadOptions{Want: tree.WantTag | tree.WantSums}); !errors.Is(err,
			context.Canceled) {
			t.Errorf("got error %v", err)
		}
	})
	<-reading
	for range 4 {
		asking.Go(func() {
			if state, err := s.Stat(t.Context(), "f",
				tree.ReadOptions{Want: tree.WantTag | tree.WantSums}); err != nil || len(state.Sums) != 3 {
				t.Errorf("got %+v, error %v", state, err)
			}
		})
	}
	giveUp()
	close(goOn)
	asking.Wait()
	if n := hashed.Load() - before; n > 2 {
		t.Errorf("it was read %d times", n)
	}
}

// TestListingHashesSideBySide has the hash of each member wait until others are being hashed.
func TestListingHashesSideBySide(t *testing.T) {
	dir := t.TempDir()
	var layout []string
	for i := range 3 * hashedAtOnce {
		layout = append(layout, fmt.Sprintf("%d=%d", i, i))
	}
	lay(t, dir, layout...)
	var reading atomic.Int32
	together := make(chan struct{})
	s, _ := openHooked(t, dir, Options{Now: rested().Now}, func(c vfs.Call) error {
		if c.Op == "readAt" && !strings.HasPrefix(c.Name, ".ifmatch") {
			if reading.Add(1) == hashedAtOnce {
				close(together)
			}
			<-together
		}
		return nil
	})
	defer s.Close()
	list := func(want tree.Want) (names []string) {
		for state, err := range treetest.Members(t.Context(), s, "", want) {
			if err != nil || want != 0 && state.Tag != treetest.TagOf(state.Name) {
				t.Errorf("got %+v, error %v", state, err)
			}
			names = append(names, state.Name)
		}
		return names
	}
	if names, order := list(tree.WantTag), list(0); !slices.Equal(names, order) {
		t.Errorf("the order is %q, and %q without tags", names, order)
	}
	// Who has enough gets away.
	s.Distrust()
	for range treetest.Members(t.Context(), s, "", tree.WantTag) {
		break
	}
}

// TestWantedHashDoesNotGiveWay has a request wait for what is being hashed in the background, while others wait too.
func TestWantedHashDoesNotGiveWay(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1")
	s, _ := openStore(t, dir, Options{Now: rested().Now})
	defer s.Close()
	s.hasher.Ask() // one that never comes to an end
	s.Changed("f")
	treetest.Eventually(t, "the hash in the background", func() bool { return s.hasher.Running() == 1 })
	if state, err := s.Stat(t.Context(), "f", tree.ReadOptions{Want: tree.WantTag}); err != nil ||
		state.Tag != treetest.TagOf("1") {
		t.Errorf("got %+v, error %v", state, err)
	}
}

// TestGivesWayToWriters has a program open a file for writing while it is hashed under a lease.
func TestGivesWayToWriters(t *testing.T) {
	dir := t.TempDir()
	content := strings.Repeat("x", 1<<20)
	lay(t, dir, "f="+content)
	var writer *os.File
	in := make(chan struct{})
	var reads atomic.Int32
	s, _ := openHooked(t, dir, Options{}, func(c vfs.Call) error {
		if c.Op == "readAt" && c.Name == "f" && reads.Add(1) == 2 {
			go func() { // it waits for the lease
				defer close(in)
				var err error
				if writer, err = os.OpenFile(filepath.Join(dir, "f"), os.O_WRONLY, 0); err != nil {
					t.Error(err)
				}
			}()
		}
		if c.Op == "lease" && c.Name == "f" && reads.Load() >= 2 {
			<-in // before the file is hashed once more
		}
		return nil
	})
	defer s.Close()
	if !s.fs.Abilities().Leases {
		t.Log("there are no leases here")
		return
	}
	want := treetest.TagOf(content)
	if state, err := s.Stat(t.Context(), "f", tree.ReadOptions{Want: tree.WantTag}); err != nil || state.Tag != want {
		t.Errorf("while it is open for writing: got %+v, error %v", state, err)
	}
	through := reads.Load() == 4 // before the program came
	if s.knows("f") != through {
		t.Error("what is hashed while a program can write is remembered")
	}
	<-in
	writer.Close()
	if state, err := s.Stat(t.Context(), "f", tree.ReadOptions{Want: tree.WantTag}); err != nil || state.Tag != want ||
		!s.knows("f") {
		t.Errorf("after it was closed: got %+v, error %v, known %v", state, err, s.knows("f"))
	}
}

// TestFreshFilesAreKnown: where nobody can be writing, there is no need to wait until a file has settled.
func TestFreshFilesAreKnown(t *testing.T) {
	dir := t.TempDir()
	s, hashed := openStore(t, dir, Options{})
	defer s.Close()
	if able := s.fs.Abilities(); !able.Leases || !able.FineTimes {
		t.Log("no leases or coarse times here")
		return
	}
	for i := range 3 {
		content := fmt.Sprint(i) // of one size
		lay(t, dir, "f="+content)
		for range 2 {
			if state, err := s.Stat(t.Context(), "f", tree.ReadOptions{Want: tree.WantTag}); err != nil ||
				state.Tag != treetest.TagOf(content) {
				t.Errorf("got %+v, error %v", state, err)
			}
		}
		if n := hashed.Load(); n != int32(i+1) {
			t.Errorf("hashed %d times, want %d", n, i+1)
		}
	}
}

// TestVerifyFindsWhatNoTimeStampTells has an index that knows another content of exactly the version that is there.
func TestVerifyFindsWhatNoTimeStampTells(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "rotten=1", "sound=2", "d/fresh=3")
	s, _ := openStore(t, dir, Options{Now: rested().Now})
	defer s.Close()
	for _, name := range []string{"rotten", "sound"} {
		if _, err := s.Stat(t.Context(), name, tree.ReadOptions{Want: tree.WantTag}); err != nil {
			t.Fatal(err)
		}
	}
	info, err := s.reader.Look(t.Context(), "rotten", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.index.Put(info.Fingerprint, index.RecordOf(treetest.TagOf("0")))
	verify := func() map[string]Reading {
		t.Helper()
		found := map[string]Reading{}
		if err := s.Warmer().Verify(t.Context(), 2, func(r Reading) { found[r.Name] = r }); err != nil {
			t.Fatal(err)
		}
		return found
	}
	want := map[string]Reading{
		"rotten":  {Name: "rotten", Size: 1, Was: treetest.TagOf("0"), Is: treetest.TagOf("1")},
		"sound":   {Name: "sound", Size: 1, Was: treetest.TagOf("2"), Is: treetest.TagOf("2")},
		"d/fresh": {Name: "d/fresh", Size: 1, Is: treetest.TagOf("3")},
	}
	if got := verify(); !maps.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for name, r := range verify() {
		if r.Was != r.Is {
			t.Errorf("%s is told again: %+v", name, r)
		}
	}
	if state, err := s.Stat(t.Context(), "rotten", tree.ReadOptions{Want: tree.WantTag}); err != nil ||
		state.Tag != treetest.TagOf("1") {
		t.Errorf("its tag is not that of its bytes: %+v, error %v", state, err)
	}
}

// What verify reads while a program has the file open for writing says that the tag was wrong, and is not remembered.
func TestVerifyBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir, Options{})
	defer s.Close()
	if !s.fs.Abilities().Leases {
		t.Log("who has a file open is not seen here")
		return
	}
	lay(t, dir, "rotten=1")
	info, err := s.reader.Look(t.Context(), "rotten", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.index.Put(info.Fingerprint, index.RecordOf(treetest.TagOf("0")))
	w, err := os.OpenFile(filepath.Join(dir, "rotten"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var found Reading
	if err := s.Warmer().Verify(t.Context(), 1, func(r Reading) { found = r }); err != nil {
		t.Fatal(err)
	}
	if found.Was != treetest.TagOf("0") || found.Is != treetest.TagOf("1") {
		t.Errorf("got %+v", found)
	}
	if s.knows("rotten") {
		t.Error("a tag is remembered that was hashed beside a writer")
	}
}
