//go:build !linux

package etagfs

// bootID returns "": this system does not tell one boot from the next in a way that os can read.
func bootID() string { return "" }
