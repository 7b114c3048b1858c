//go:build !linux

package compare

import "os"

func syncData(f *os.File) error { return f.Sync() }
