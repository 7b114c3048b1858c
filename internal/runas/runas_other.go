//go:build !linux

// Package runas does nothing on this system.
package runas

// Owner does nothing on this system.
func Owner(dir, stateName, stateDir string) error { return nil }
