//go:build !linux || (!amd64 && !arm64)

package folding

import (
	"errors"
	"testing"
)

// Serve fails: go-fuse takes words of 64 bits for granted.
func Serve(string, Rules) (unmount func() error, err error) { return nil, errors.ErrUnsupported }

// Main is never called.
func Main() {}

// Mount skips the test.
func Mount(t testing.TB, _ string, _ Rules) {
	t.Helper()
	t.Skip("NOT RUN: FUSE is tried on Linux, with words of 64 bits")
}
