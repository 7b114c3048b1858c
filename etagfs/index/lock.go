package index

import (
	"errors"
	"fmt"
	"os"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
)

var errLocked = errors.New("it is locked")

const (
	// openPatience is how long the opening of an index waits for another process that is opening it.
	openPatience = 5 * time.Second
	lockPause    = time.Millisecond
)

// lockFile locks an open file. It fails when patience is over, because the process that has the lock may have been
// stopped.
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
