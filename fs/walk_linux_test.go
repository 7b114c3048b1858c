package fs

import (
	"testing"

	"golang.org/x/sys/unix"
)

// forBothWalks runs a test with openat2, and with os.Root alone as on other systems.
func forBothWalks(t *testing.T, test func(*testing.T, func(*testing.T, string, Options) *FS)) {
	t.Run("openat2", func(t *testing.T) { test(t, openTest) })
	t.Run("os.Root", func(t *testing.T) {
		test(t, func(t *testing.T, dir string, opts Options) *FS {
			s := openTest(t, dir, opts)
			s.calls.(*dirCalls).kernel.openat2 = false
			return s
		})
	})
}

func mknodNull(name string) error { return unix.Mknod(name, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) }
