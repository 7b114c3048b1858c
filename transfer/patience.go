package transfer

import (
	"context"
	"errors"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pause"
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
		if pause.For(ctx, time.Second<<min(try, 3)) != nil {
			return context.Cause(ctx)
		}
	}
}
