package vfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestDescriptor: a file that is closed while calls use it gives no other file's bytes, and a closed one fails.
func TestDescriptor(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("content"), 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 200 {
		f, err := s.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				b := make([]byte, 16)
				n, err := f.ReadAt(b, 3)
				if !(err == io.EOF && string(b[:n]) == "tent") && !errors.Is(err, os.ErrClosed) {
					t.Errorf("ReadAt returned %q, %v", b[:n], err)
				}
				if info, err := f.Stat(); !(err == nil && info.Size == 7) && !errors.Is(err, os.ErrClosed) {
					t.Errorf("Stat returned %+v, %v", info, err)
				}
			})
		}
		if i%2 == 0 {
			_, _ = f.GetAttr("user.none") // needs an os.File
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		readers.Wait()
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("the second Close returned %v", err)
		}
		if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
			t.Errorf("ReadAt after Close returned %v", err)
		}
		if _, err := f.ListAttrs(); err == nil {
			t.Error("ListAttrs after Close succeeded")
		}
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err == nil && len(open) > 100 {
		t.Errorf("%d descriptors are open", len(open))
	}
}
