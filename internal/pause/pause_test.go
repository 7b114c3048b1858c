package pause_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pause"
)

func TestPauseEndsWithItsTimeOrItsContext(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit time.Duration // of the context
		want  time.Duration
		err   error
	}{
		{"the time", time.Hour, time.Minute, nil},
		{"the context", time.Second, time.Second, context.DeadlineExceeded},
		{"a context that has ended", 0, 0, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
				defer cancel()
				begun := time.Now()
				err := pause.For(ctx, time.Minute)
				if took := time.Since(begun); took != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("%v after %v, want %v after %v", err, took, tt.err, tt.want)
				}
			})
		})
	}
}
