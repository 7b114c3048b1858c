package etagfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
	"ifmatch/tree/treetest"
)

func fingerprint(inode uint64) fs.Fingerprint {
	return fs.Fingerprint{Device: 1, Inode: inode, Size: 2, Born: 3, Modified: 4, Changed: 5}
}

func openTestIndex(t *testing.T, dir string) (*index, *atomic.Int32) {
	t.Helper()
	var reported atomic.Int32
	x, err := openIndex(dir, 1, func() {}, func(err error) {
		t.Log(err)
		reported.Add(1)
	})
	if err != nil {
		t.Fatal(err)
	}
	if x.dir == nil {
		x.boot = "test" // no boot can be told from the next here
		if x.dir, err = os.OpenRoot(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { x.dir.Close() })
	return x, &reported
}

var (
	oneTag   = tree.TagOf(sha256.Sum256([]byte("one")))
	otherTag = tree.TagOf(sha256.Sum256([]byte("other")))
)

func TestIndexKnowsExactVersions(t *testing.T) {
	x, _ := openTestIndex(t, t.TempDir())
	f := fingerprint(7)
	x.put(f, oneTag)
	if tag, ok := x.get(f); !ok || tag != oneTag {
		t.Errorf("got %s, %v", tag, ok)
	}
	for _, change := range []func(*fs.Fingerprint){
		func(f *fs.Fingerprint) { f.Device++ },
		func(f *fs.Fingerprint) { f.Inode++ },
		func(f *fs.Fingerprint) { f.Size++ },
		func(f *fs.Fingerprint) { f.Born++ },
		func(f *fs.Fingerprint) { f.Modified++ },
		func(f *fs.Fingerprint) { f.Changed++ },
	} {
		other := f
		change(&other)
		if tag, ok := x.get(other); ok {
			t.Errorf("%+v is known as %s", other, tag)
		}
	}
	x.put(f, otherTag)
	if tag, _ := x.get(f); tag != otherTag {
		t.Errorf("got %s", tag)
	}
	x.drop(f)
	if _, ok := x.get(f); ok {
		t.Error("dropped, and known")
	}
	x.put(fs.Fingerprint{Size: 2, Modified: 4}, oneTag)
	if _, ok := x.get(fs.Fingerprint{Size: 2, Modified: 4}); ok {
		t.Error("known without an inode")
	}
}

func TestIndexOnDisk(t *testing.T) {
	dir := t.TempDir()
	inodes := []uint64{1, 2, 255, 256, 1 << 40}
	x, _ := openTestIndex(t, dir)
	for _, inode := range inodes {
		x.put(fingerprint(inode), oneTag)
	}
	elsewhere := fingerprint(9)
	elsewhere.Device = 2
	x.put(elsewhere, oneTag)
	x.flush()
	known := func(x *index) (n int) {
		for _, inode := range inodes {
			if tag, ok := x.get(fingerprint(inode)); ok && tag == oneTag {
				n++
			}
		}
		return n
	}
	x, reported := openTestIndex(t, dir)
	if n := known(x); n != len(inodes) || reported.Load() != 0 {
		t.Errorf("%d of %d are known, %d reports", n, len(inodes), reported.Load())
	}
	if _, ok := x.get(elsewhere); ok {
		t.Error("a file of another mount is known after a restart")
	}
	x, _ = openTestIndex(t, dir)
	x.boot = "another"
	if n := known(x); n != 0 {
		t.Errorf("after another boot %d are known", n)
	}
	x, _ = openTestIndex(t, dir)
	x.clear()
	if n := known(x); n != 0 {
		t.Errorf("cleared, and %d are known", n)
	}
	x, _ = openTestIndex(t, dir)
	if n := known(x); n != 0 {
		t.Errorf("cleared, reopened, and %d are known", n)
	}
}

func TestIndexForgetsTheOldestPages(t *testing.T) {
	dir := t.TempDir()
	x, _ := openTestIndex(t, dir)
	for i := range uint64(maxPages + 10) {
		x.put(fingerprint(i*inodesPerPage+1), oneTag)
	}
	if n := x.pages.Len(); n != maxPages {
		t.Errorf("%d pages are in memory", n)
	}
	if _, ok := x.get(fingerprint(1)); !ok {
		t.Error("a page that made room was not written")
	}
}

func TestDamagedPages(t *testing.T) {
	p := &page{entries: map[uint64]entry{}}
	for i := range uint64(3) {
		p.entries[i] = entry{fingerprint(i), oneTag}
	}
	whole := p.encode("boot")
	decode := func(data []byte) (map[uint64]entry, error) {
		p := &page{entries: map[uint64]entry{}}
		err := p.decode(data, "boot", 1)
		return p.entries, err
	}
	if got, err := decode(whole); err != nil || !maps.Equal(got, p.entries) {
		t.Errorf("got %v, error %v", got, err)
	}
	for n := range whole {
		if _, err := decode(whole[:n]); !errors.Is(err, errDamaged) {
			t.Errorf("cut at %d of %d: error %v", n, len(whole), err)
		}
		flipped := bytes.Clone(whole)
		flipped[n] ^= 1
		if _, err := decode(flipped); !errors.Is(err, errDamaged) {
			t.Errorf("a bit of byte %d flipped: error %v", n, err)
		}
	}

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "0"), whole[:50], 0o666); err != nil {
		t.Fatal(err)
	}
	x, reported := openTestIndex(t, dir)
	if _, ok := x.get(fingerprint(1)); ok || reported.Load() != 1 {
		t.Errorf("known %v, %d reports", ok, reported.Load())
	}
}

// FuzzPage decodes what nobody wrote: it must not fail otherwise than by an error, and what it takes must be encoded the
// same again.
func FuzzPage(f *testing.F) {
	p := &page{entries: map[uint64]entry{1: {fingerprint(1), oneTag}}}
	f.Add(p.encode("boot"))
	f.Add([]byte(nil))
	f.Add([]byte("ifmatch index 1\nboot\n1234"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// A checksum that is right, so that there is something behind it to look at.
		for _, data := range [][]byte{data, seal(bytes.Clone(data))} {
			p := &page{entries: map[uint64]entry{}}
			if p.decode(data, "boot", 1) != nil {
				continue
			}
			again := &page{entries: map[uint64]entry{}}
			if err := again.decode(p.encode("boot"), "boot", 1); err != nil || !maps.Equal(p.entries, again.entries) {
				t.Errorf("got %v, then %v, error %v", p.entries, again.entries, err)
			}
		}
	})
}

// openStore opens a store of dir, and counts the files that are hashed.
func openStore(t *testing.T, dir string, opts Options) (s *Store, hashed *atomic.Int32) {
	t.Helper()
	hashed = new(atomic.Int32)
	below, err := fs.Open(dir, fs.Options{Durability: fs.None, Before: func(c fs.Call) error {
		if c.Op == "readAt" && !strings.HasPrefix(c.Name, ".ifmatch") {
			hashed.Add(1)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err = New(below, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s, hashed
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s does not happen", what)
		}
	}
}

func (s *Store) knows(name string) bool {
	info, err := s.look(name)
	_, ok := s.index.get(info.Fingerprint)
	return err == nil && ok
}

func TestIndexOutlivesTheStore(t *testing.T) {
	dir, index := t.TempDir(), filepath.Join(t.TempDir(), "index")
	clock := treetest.NewClock()
	names := []string{"f", "g"}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	clock.Advance(10 * time.Second)
	for round, want := range []int32{2, 0} {
		s, hashed := openStore(t, dir, Options{IndexDir: index, Now: clock.Now, Report: func(err error) { t.Error(err) }})
		for _, name := range names {
			if state, err := s.Stat(t.Context(), name, tree.WantTag); err != nil || state.Tag != treetest.TagOf(name) {
				t.Errorf("got %+v, error %v", state, err)
			}
		}
		if n := hashed.Load(); n != want && s.index.dir != nil {
			t.Errorf("round %d: %d files were hashed, want %d", round, n, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestIndexIsWrittenWhenIdle(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, t.TempDir(), Options{IndexDir: dir})
	defer s.Close()
	if s.index.dir == nil {
		t.Log("no boot can be told from the next here, so nothing is written")
		return
	}
	if !s.fs.Abilities().FineTimes {
		t.Log("time stamps are coarse here, so nothing is known of a fresh file")
		return
	}
	if _, _, err := s.Put(t.Context(), "f", strings.NewReader("x"), tree.PutOptions{Length: -1}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a page", func() bool {
		found, err := os.ReadDir(dir)
		return err == nil && len(found) == 1
	})
}

func TestChangedHashesAhead(t *testing.T) {
	dir := t.TempDir()
	clock := treetest.NewClock()
	s, hashed := openStore(t, dir, Options{Now: clock.Now, Report: func(err error) { t.Error(err) }})
	defer s.Close()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("theirs"), 0o666); err != nil {
		t.Fatal(err)
	}
	// One that has just changed is put off; others are not.
	s.Changed("f", "no", "", ".ifmatch/format", "f/x")
	eventually(t, "that f is put off", func() bool {
		s.ahead.mu.Lock()
		defer s.ahead.mu.Unlock()
		return len(s.ahead.due) == 1 && s.ahead.due["f"].After(clock.Now())
	})
	if n := hashed.Load(); n != 0 {
		t.Errorf("%d files were hashed too early", n)
	}
	clock.Advance(10 * time.Second)
	s.Changed("no") // wakes it; else it would look by itself in two seconds
	eventually(t, "the hash", func() bool { return s.knows("f") })
	if state, err := s.Stat(t.Context(), "f", tree.WantTag); err != nil || state.Tag != treetest.TagOf("theirs") || hashed.Load() != 1 {
		t.Errorf("got %+v, error %v, hashed %d times", state, err, hashed.Load())
	}
	s.Distrust()
	if s.knows("f") {
		t.Error("distrusted, and known")
	}
}

// TestOneHashAtATime has many ask for one tag, the first of whom gives up.
func TestOneHashAtATime(t *testing.T) {
	dir := t.TempDir()
	content := strings.Repeat("x", 1<<20)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	var reads atomic.Int32
	reading, goOn := make(chan struct{}), make(chan struct{})
	below, err := fs.Open(dir, fs.Options{Durability: fs.None, Before: func(c fs.Call) error {
		if c.Op == "readAt" && c.Name == "f" && reads.Add(1) == 1 {
			close(reading)
			<-goOn
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(below, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := s.Stat(ctx, "f", tree.WantTag)
		first <- err
	}()
	<-reading
	const n = 8
	rest := make(chan error, n)
	for range n {
		go func() {
			state, err := s.Stat(t.Context(), "f", tree.WantTag)
			if err == nil && state.Tag != treetest.TagOf(content) {
				err = fmt.Errorf("it has the tag %s", state.Tag)
			}
			rest <- err
		}()
	}
	cancel()
	close(goOn)
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that gave up got error %v", err)
	}
	for range n {
		if err := <-rest; err != nil {
			t.Error(err)
		}
	}
}

func TestDamagedLocks(t *testing.T) {
	dir := t.TempDir()
	var reported atomic.Int32
	s, _ := openStore(t, dir, Options{Report: func(error) { reported.Add(1) }})
	defer s.Close()
	l, _, err := s.Lock(t.Context(), tree.Lock{Root: "f", Expires: time.Now().Add(time.Hour)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, ".ifmatch", "locks")
	data, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, data[:len(data)-1], 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unlock(t.Context(), "f", l.Token); !errors.Is(err, tree.ErrNoLock) || reported.Load() == 0 {
		t.Errorf("got error %v, %d reports", err, reported.Load())
	}
	if _, _, err := s.Lock(t.Context(), tree.Lock{Root: "f", Expires: time.Now().Add(time.Hour)}, nil); err != nil {
		t.Errorf("the next lock: %v", err)
	}
}

// TestTwoStores serves one directory twice, as two processes do.
func TestTwoStores(t *testing.T) {
	dir := t.TempDir()
	a, _ := openStore(t, dir, Options{})
	defer a.Close()
	b, _ := openStore(t, dir, Options{})
	defer b.Close()
	put := func(s *Store, content string, check tree.Check) error {
		_, _, err := s.Put(t.Context(), "f", strings.NewReader(content), tree.PutOptions{Length: -1}, check)
		return err
	}
	if err := put(a, "one", treetest.IfAbsent("f")); err != nil {
		t.Fatal(err)
	}
	if err := put(b, "two", treetest.IfAbsent("f")); err == nil {
		t.Error("created twice")
	}
	if err := put(b, "two", treetest.IfTag("f", treetest.TagOf("one"))); err != nil {
		t.Error(err)
	}
	if err := put(a, "three", treetest.IfTag("f", treetest.TagOf("one"))); err == nil {
		t.Error("a lost update")
	}
	l, _, err := a.Lock(t.Context(), tree.Lock{Root: "f", Expires: time.Now().Add(time.Hour)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Lock(t.Context(), tree.Lock{Root: "f", Expires: time.Now().Add(time.Hour)}, nil); err == nil {
		t.Error("locked twice")
	}
	if err := b.Unlock(t.Context(), "f", l.Token); err != nil {
		t.Error(err)
	}
}
