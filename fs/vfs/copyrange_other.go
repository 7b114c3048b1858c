//go:build !linux

package vfs

import (
	"errors"
	"os"
)

func reflink(_, _ *os.File) error { return errors.ErrUnsupported }
func nextData(_ *os.File, _ int64) (from, to int64, err error) {
	return 0, 0, errors.ErrUnsupported
}
func copyRange(_, _ *os.File, _ int64, _ int) (int, error) { return 0, errors.ErrUnsupported }
