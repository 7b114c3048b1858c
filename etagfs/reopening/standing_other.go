//go:build !unix

package reopening

import "os"

// A standing identifies the directory to which a path leads.
type standing struct{ info os.FileInfo }

func standingAt(path string) (standing, error) {
	info, err := os.Stat(path)
	return standing{info}, err
}

func (s standing) is(other standing) bool { return os.SameFile(s.info, other.info) }
