package vfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStatxName: a look by name finds what unix.Statx finds, also by the longest names, and makes no garbage.
func TestStatxName(t *testing.T) {
	dir := t.TempDir()
	at, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	longest := strings.Repeat("n", unix.NAME_MAX)
	for _, name := range []string{"f", longest} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("content"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "f", longest, "missing", longest + "n", "a\x00b",
		strings.Repeat("d/", 3000) + "f"} {
		var got, want unix.Statx_t
		const flags = unix.AT_EMPTY_PATH | unix.AT_SYMLINK_NOFOLLOW
		failed := statxName(int(at.Fd()), name, flags, unix.STATX_BASIC_STATS, &got)
		err := unix.Statx(int(at.Fd()), name, flags, unix.STATX_BASIC_STATS, &want)
		if !errors.Is(failed, err) || got.Ino != want.Ino || got.Size != want.Size {
			t.Errorf("%.20q: inode %d, %v, want %d, %v", name, got.Ino, failed, want.Ino, err)
		}
	}
	fd := int(at.Fd())
	if n := testing.AllocsPerRun(100, func() {
		if _, err := statxAt(fd, "f", unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%.0f allocations, want none", n)
	}
}
