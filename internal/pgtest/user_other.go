//go:build !unix

package pgtest

import (
	"errors"
	"syscall"
)

// unprivileged is not written for this system.
func unprivileged(string) (*syscall.SysProcAttr, error) {
	return nil, errors.ErrUnsupported
}
