//go:build !unix

package watcher

import "os"

// A fileID is not needed here: notifications are bound to handles of their own, never to a shared inode.
type fileID struct{}

func identify(os.FileInfo) fileID { return fileID{} }

func openDir(path string, _ bool) (*os.File, error) { return os.Open(path) }
