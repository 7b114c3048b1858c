//go:build !linux

package main

// actAsOwner does nothing on this system.
func actAsOwner(dir, stateDir string) error { return nil }
