//go:build !linux

package fs

import "os"

func mountedIn(*os.File, string) ([]string, error) { return nil, nil }

func hasLazyTimes(string) bool { return false }
