//go:build !linux

package index

import "errors"

func mkfifo(string) error { return errors.ErrUnsupported }
