//go:build !linux

package index

import (
	"errors"
	"os"
)

// BootID returns "": this system does not tell one boot from the next in a way that package os can read.
func BootID() string { return "" }

func monotonic() int64 { return 0 }

const noWait = 0

func tryFlock(*os.File) error { return errors.ErrUnsupported }

func funlock(*os.File) {}
