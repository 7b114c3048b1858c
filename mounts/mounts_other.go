//go:build !linux

package mounts

import "os"

// A Table cannot tell of mounts and unmounts on this system.
type Table struct{}

// OpenTable returns a Table that never changes.
func OpenTable() Table { return Table{} }

// Close closes the table.
func (Table) Close() {}

// Changed reports false.
func (Table) Changed() bool { return false }

// In returns nothing: this system does not tell.
func In(string) map[string]Mount { return nil }

// Below returns nothing: this system does not tell.
func Below(*os.File, string) ([]string, error) { return nil, nil }

// HasLazyTimes returns false: this system does not tell.
func HasLazyTimes(string) bool { return false }

// VolumeOf assumes that inode numbers are kept, and nothing else.
func VolumeOf(*os.File) Volume { return Volume{Numbered: true} }
