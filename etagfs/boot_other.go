//go:build !linux

package etagfs

import (
	"errors"
	"os"
)

// bootID returns "": this system does not tell one boot from the next in a way that os can read.
func bootID() string { return "" }

func flock(*os.File, bool) error { return errors.ErrUnsupported }

func funlock(*os.File) {}
