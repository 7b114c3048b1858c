// Package pause lets a goroutine wait for a time, and no longer than its context lasts.
package pause

import (
	"context"
	"time"
)

// For waits for a time. If the context ends first, For returns its error at once.
func For(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
