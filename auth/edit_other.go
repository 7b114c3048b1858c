//go:build !unix

package auth

import "os"

func tryLock(*os.File) (locked bool, err error) { return true, nil }
func copyOwner(*os.File, os.FileInfo) error     { return nil }
func syncDir(string) error                      { return nil }
func writableByOthers(os.FileInfo) bool         { return false }
