package index

import (
	"errors"
	"fmt"
	"os"
	"time"

	"ifmatch/fs"
)

var errLocked = errors.New("another process has locked it")

const (
	// lockPatience is how long the lock of an index is waited for, which is held for a few reads and writes.
	lockPatience = 5 * time.Second
	lockPause    = 2 * time.Millisecond
)

// lockFile locks an open file, or fails when patience is at an end: the process that has the lock may have been stopped.
func lockFile(f *os.File, patience time.Duration) error {
	for end := time.Now().Add(patience); ; time.Sleep(lockPause) {
		err := tryFlock(f)
		if !errors.Is(err, errLocked) {
			return err
		}
		if !time.Now().Before(end) {
			return fmt.Errorf("%s: %w: %s has had it for %v", f.Name(), err, fs.HolderOf(f), patience)
		}
	}
}
