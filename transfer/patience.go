package transfer

import (
	"context"
	"errors"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// tries is how often something is tried while a store is busy or away: for about half a minute in all.
const tries = 6

// patiently calls do again while the store is busy, or away.
func patiently(ctx context.Context, do func() error) error {
	for try := 0; ; try++ {
		err := do()
		if try == tries || !errors.Is(err, tree.ErrBusy) && !errors.Is(err, tree.ErrUnavailable) {
			return err
		}
		if failed := sleep(ctx, time.Second<<min(try, 3)); failed != nil {
			return failed
		}
	}
}

// sleep waits, unless the context ends first.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
