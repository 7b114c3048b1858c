//go:build !linux

package vfs

import (
	"errors"
	iofs "io/fs"
	"os"
)

func openKernel(root *os.Root) (kernel, error) { return rootKernel{root}, nil }

func (rootKernel) renameNew(string, string) error { return errors.ErrUnsupported }
func (rootKernel) exchange(string, string) error  { return errors.ErrUnsupported }

func fdatasync(f *os.File) error { return f.Sync() }

func infoOf(fi iofs.FileInfo) Info {
	info := Info{Name: fi.Name(), Kind: kindOf(fi.Mode()), Mode: fi.Mode() & modeBits}
	info.Modified, info.Second = fi.ModTime().UnixNano(), fi.ModTime().Unix()
	if info.Kind == Regular {
		info.Size = fi.Size()
		info.Allocated = info.Size
	}
	identify(&info, fi)
	return info
}

func syncfs(*os.File) error { return errors.ErrUnsupported }

func uncache(*os.File) {}

func volumeOn(*os.File) Volume { return Volume{Numbered: true} }

func kindsIn(*os.File) ([]Info, error) { return nil, errors.ErrUnsupported }
