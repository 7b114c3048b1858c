//go:build !linux

package etagfs

import "errors"

func mkfifo(string) error { return errors.ErrUnsupported }
