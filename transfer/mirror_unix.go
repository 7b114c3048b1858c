//go:build unix

package transfer

import (
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"syscall"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// markName is the attribute of the files and directories that a mirror has made.
const markName = "user.ifmatch.mirror"

// A mark says that a mirror has made a file or a directory. A copy of that with its attributes has another inode.
type mark struct {
	ID    string `json:"id"` // of the mirror
	Inode uint64 `json:"inode"`
	// Of a file:
	Tag  tree.ETag `json:"tag,omitempty"`
	Size int64     `json:"size,omitempty"`
	Time int64     `json:"time,omitempty"` // of the last change of its content, in nanoseconds
}

func markOf(id string, info iofs.FileInfo, tag tree.ETag) mark {
	return mark{ID: id, Inode: inodeOf(info), Tag: tag, Size: info.Size(), Time: info.ModTime().UnixNano()}
}

func inodeOf(info iofs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Ino)
	}
	return 0
}

// of reports whether a file is as the mirror has made it.
func (k mark) of(info iofs.FileInfo) bool {
	return k.ID != "" && k.Size == info.Size() && k.Time == info.ModTime().UnixNano()
}

// readMark returns the mark of this mirror, or the zero value. It opens the name from the root: that of all directories on
// the way can be longer than a call takes. What has come in place of info has another inode than its mark.
func (m *Mirror) readMark(name string, info iofs.FileInfo) (k mark, err error) {
	f, err := m.root.OpenFile(local(name), os.O_RDONLY|nonblock, 0)
	if errors.Is(err, iofs.ErrNotExist) || errors.Is(err, iofs.ErrPermission) { // the mirror can read what it has made
		return mark{}, nil
	}
	if err != nil {
		return mark{}, err
	}
	defer f.Close()
	text, err := xattr.FGet(f, markName)
	switch {
	case errors.Is(err, xattr.ENOATTR), errors.Is(err, syscall.ENOTSUP):
		return mark{}, nil
	case err != nil:
		return mark{}, err
	}
	if json.Unmarshal(text, &k) != nil || k.ID != m.state.ID || k.Inode != inodeOf(info) {
		return mark{}, nil
	}
	return k, nil
}

// mark marks a directory that was just made.
func (m *Mirror) mark(name string, k mark) error {
	f, err := m.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	k.ID, k.Inode = m.state.ID, inodeOf(info)
	return m.markFile(f, k)
}

func (m *Mirror) markFile(f *os.File, k mark) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return xattr.FSet(f, markName, text)
}

// tryMark refuses a disk that keeps no attributes.
func (m *Mirror) tryMark() error {
	if err := m.mark(MirrorState, mark{}); err != nil {
		return fmt.Errorf("the disk of %s keeps no extended attributes, by which the mirror knows its files: %w: export to ext4, "+
			"XFS or Btrfs", m.Dir, err)
	}
	return nil
}

// lockFile takes a lock that ends with the process.
func lockFile(root *os.Root, name string) (unlock func() error, err error) {
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// isBadName reports whether a disk cannot have a name.
func isBadName(err error) bool {
	return errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EILSEQ)
}
