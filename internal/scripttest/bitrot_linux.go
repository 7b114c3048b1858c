package scripttest

import (
	"errors"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// cmdRot changes the first byte of a file without a new time stamp, as a failing disk does. On tmpfs a write through a
// mapping keeps the time stamps if the mapping was read before.
func cmdRot(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "rot FILE")
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	var before, after unix.Stat_t
	memory, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	ts.Check(err)
	was := memory[0]
	ts.Check(unix.Fstat(int(f.Fd()), &before))
	memory[0] = was ^ 1
	ts.Check(errors.Join(unix.Munmap(memory), unix.Fstat(int(f.Fd()), &after)))
	if before.Ctim != after.Ctim || before.Mtim != after.Mtim {
		ts.Fatalf("the time stamps of %s changed", args[0])
	}
}
