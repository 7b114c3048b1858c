//go:build !linux

package fs

import (
	"errors"
	iofs "io/fs"
	"os"
)

// kernel is what this system can do better than os.Root: nothing.
type kernel struct{}

func openKernel(*os.Root) (kernel, error) { return kernel{}, nil }
func (kernel) close() error               { return nil }

func (kernel) lstat(root *os.Root, name string) (Info, error) { return rootLstat(root, name) }

func (kernel) fstat(f *os.File) (Info, error) {
	fi, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	return infoOf(fi), nil
}

func (kernel) renameNew(*os.Root, string, string) error { return errors.ErrUnsupported }

func fdatasync(f *os.File) error { return f.Sync() }

func infoOf(fi iofs.FileInfo) Info {
	info := Info{Name: fi.Name(), Kind: kindOf(fi.Mode()), Mode: fi.Mode().Perm()}
	info.Modified = fi.ModTime().UnixNano()
	if info.Kind == Regular {
		info.Size = fi.Size()
	}
	identify(&info, fi)
	return info
}
