package lingering

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stays is how long a file stays open in these tests.
const stays = time.Second

// A file tells when it is closed.
type file struct {
	name   string
	closed *names
}

func (f file) Close() error {
	f.closed.mu.Lock()
	defer f.closed.mu.Unlock()
	f.closed.all = append(f.closed.all, f.name)
	return nil
}

// names are those of the files that were closed.
type names struct {
	mu  sync.Mutex
	all []string
}

func (n *names) now() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.all)
}

// TestFileStaysOpenWhileItIsUsed: and for a while after that, but not for twice as long.
func TestFileStaysOpenWhileItIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Slot[file]
		var closed names
		s.Put("a", file{"a", &closed}, stays)
		for range 10 {
			time.Sleep(stays * 9 / 10)
			f, ok := s.Take("a")
			if !ok {
				t.Fatal("it was closed between two uses")
			}
			s.Put("a", f, stays)
		}
		time.Sleep(stays - 1)
		if len(closed.now()) != 0 {
			t.Errorf("%q closed before its time", closed.now())
		}
		time.Sleep(stays + 1)
		synctest.Wait()
		if !slices.Equal(closed.now(), []string{"a"}) {
			t.Errorf("after twice its time, %q is closed", closed.now())
		}
		if _, ok := s.Take("a"); ok {
			t.Error("a file that was closed is still there")
		}
	})
}

// TestSlotHasOneFile: another one closes it, one that is taken out is not closed, and a name finds no other file.
func TestSlotHasOneFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Slot[file]
		var closed names
		s.Put("a", file{"a", &closed}, stays)
		s.Put("b", file{"b", &closed}, stays)
		if _, ok := s.Take("a"); ok {
			t.Error("the first one is still there")
		}
		if _, ok := s.Take("b"); !ok {
			t.Error("the second one is not there")
		}
		time.Sleep(2 * stays)
		synctest.Wait()
		if !slices.Equal(closed.now(), []string{"a"}) {
			t.Errorf("%q closed", closed.now())
		}
		s.Put("c", file{"c", &closed}, stays)
		s.Close()
		s.Close()
		time.Sleep(2 * stays)
		synctest.Wait()
		if !slices.Equal(closed.now(), []string{"a", "c"}) {
			t.Errorf("%q closed", closed.now())
		}
	})
}
