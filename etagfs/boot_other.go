//go:build !linux

package etagfs

import (
	"errors"
	"os"
	"time"
)

// bootID returns "": this system does not tell one boot from the next in a way that os can read.
func bootID() string { return "" }

const noWait = 0

func flock(*os.File, time.Duration) error { return errors.ErrUnsupported }

func funlock(*os.File) {}
