//go:build unix && !linux

package fs

import (
	iofs "io/fs"
	"testing"
)

func forBothWalks(t *testing.T, test func(*testing.T, func(*testing.T, string, Options) *FS)) {
	test(t, openTest)
}

func mknodNull(string) error { return iofs.ErrPermission }
