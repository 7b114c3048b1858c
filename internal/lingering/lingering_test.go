package lingering

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// stays is how long a file stays open in these tests.
const stays = time.Second

// A file tells when it is closed.
type file struct {
	name   string
	closed *[]string
}

func (f file) Close() error {
	*f.closed = append(*f.closed, f.name)
	return nil
}

// TestFileStaysOpenWhileItIsUsed: and for a while after that, but not for twice as long.
func TestFileStaysOpenWhileItIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Slot[file]
		var closed []string
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
		if len(closed) != 0 {
			t.Errorf("%q closed before its time", closed)
		}
		time.Sleep(stays + 1)
		synctest.Wait()
		if !slices.Equal(closed, []string{"a"}) {
			t.Errorf("after twice its time, %q is closed", closed)
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
		var closed []string
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
		if !slices.Equal(closed, []string{"a"}) {
			t.Errorf("%q closed", closed)
		}
		s.Put("c", file{"c", &closed}, stays)
		s.Close()
		s.Close()
		time.Sleep(2 * stays)
		synctest.Wait()
		if !slices.Equal(closed, []string{"a", "c"}) {
			t.Errorf("%q closed", closed)
		}
	})
}
