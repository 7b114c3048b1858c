//go:build !linux

package vfs

import "os"

func lease(*os.File) error          { return errNoLease }
func unlease(*os.File)              {}
func leased(*os.File) (bool, error) { return false, errNoLease }

func mapWritable(*os.File) ([]byte, error) { return nil, errNoLease }
func unmap([]byte)                         {}
