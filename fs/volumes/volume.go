package volumes

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/pkg/xattr"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A Volume is the server's state on one file system: the versions that are staged there, and the history of the
// versions that were replaced there. Each file system has a volume of its own, since no rename leads from one file
// system to another. The state directory of a volume is at the top of the part of the file system that is served:
//
//	.ifmatch/stage      see AliveName
//	.ifmatch/history    the versions that were replaced or removed
//	.ifmatch/trash      files and collections that are to be deleted
//	.ifmatch/properties large properties
//
// The volume of the root exists from the start, and has the lock files of all. The server makes another volume with the
// first commit on a file system that is mounted below the root, or in a subvolume below the root. Such a volume notes
// names relative to its own top, so that a note is still true if the file system is mounted elsewhere next time. The
// server keeps only staged files open there, so that the file system can be unmounted. So a session there has no locked
// file of its own. It lives as long as the session of the same process at the root.
type Volume struct {
	t          *Tree
	Top        string // the path of its top from the root
	Device     MountDevice
	names      *sequence   // one for all places where the device is mounted
	CommitLock *CommitLock // as names
	itself     []*Volume   // the volume alone, for lists that must not be changed

	stateAt    string   // its state directory
	Session    string   // our session in the staging directory
	SessionDir *vfs.Dir // the session, resolved (nil: not at the root)

	opening   sync.Mutex
	Opened    atomic.Bool // staged and abilities are set, and there is a session
	Made      vfs.Info    // a look at its alive file: staged files get the same mode and device
	abilities Abilities

	HasAliases atomic.Bool // its state directory was seen by another name, see ProbeAliases

	Above Above // the state that package fs adds
}

// A MountDevice identifies a volume as long as it is mounted. No rename leads from one MountDevice to another. A
// subvolume of Btrfs has a device number of its own, but is no mount. Two mounts of one file system have the same
// device number.
type MountDevice struct{ Mount, Device uint64 }

// DeviceOf returns the device on which a look has found a file or directory.
func DeviceOf(i vfs.Info) MountDevice { return MountDevice{i.Mount, i.Device} }

func (s *Tree) newVolume(at string, device MountDevice) *Volume {
	session := path.Join(at, OwnDir, StagePart, s.ID)
	v := &Volume{
		t: s, Top: at, Device: device, names: &sequence{}, CommitLock: s.lockFor(device.Device),
		stateAt: path.Join(at, OwnDir), Session: session,
	}
	v.itself = []*Volume{v}
	v.Above = s.above.NewVolume(v)
	return v
}

// The parts of a state directory.
const (
	StagePart   = "stage"
	HistoryPart = "history"
	TrashPart   = "trash"
	formatPart  = "format"
)

// StatePath returns the name of a part of the state directory.
func (v *Volume) StatePath(part string) string { return v.stateAt + "/" + part }

// Relative returns a name relative to the top of the volume, as a volume notes it.
func (v *Volume) Relative(name string) string {
	if v.Top == "." {
		return name
	}
	return strings.TrimPrefix(name, v.Top+"/")
}

// Absolute does the reverse of Relative.
func (v *Volume) Absolute(name string) string {
	if v.Top == "." || name == "" {
		return name
	}
	return v.Top + "/" + name
}

// Volumes returns all known volumes, the volume of the root first.
func (s *Tree) Volumes() []*Volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Volume{s.root}, s.mounted...)
}

// Each returns what of returns for each of some volumes.
func Each[T any](volumes []*Volume, of func(*Volume) T) []T {
	all := make([]T, 0, len(volumes))
	for _, v := range volumes {
		all = append(all, of(v))
	}
	return all
}

// VolumeFor returns the volume that holds the members of a directory. If dir is not a directory, it returns the volume
// of the root, and the caller's next operation reports the error.
func (s *Tree) VolumeFor(dir string) (*Volume, error) {
	if dir == "." {
		return s.root, nil
	}
	info, err := s.calls.Lstat(dir)
	if err != nil || info.Kind != vfs.Directory || DeviceOf(info) == s.root.Device {
		return s.root, nil
	}
	v := s.knownVolume(dir, DeviceOf(info))
	if v == nil {
		if v, err = s.findVolume(dir, DeviceOf(info)); err != nil {
			return nil, err
		}
	}
	return v, v.Prepare()
}

// Together reports whether both names are on one file system. If so, a copy reaches no further than a rename.
func (s *Tree) Together(name, other string) bool {
	v, err := s.VolumeFor(path.Dir(Local(name)))
	if err != nil {
		return false
	}
	w, err := s.VolumeFor(path.Dir(Local(other)))
	return err == nil && v == w
}

// AreApart reports whether two names are certainly on different file systems, as far as the known volumes tell. It
// makes no call to the system.
func (s *Tree) AreApart(name, other string) bool {
	a, b := s.mayHaveEntry(Local(name)), s.mayHaveEntry(Local(other))
	return len(a) == 1 && len(b) == 1 && a[0].CommitLock != b[0].CommitLock
}

// VolumeHolding returns the volume of the file or collection that the caller has just seen at a name. A removal on a
// full disk can go on without a session, if another process has made the state directory.
func (s *Tree) VolumeHolding(name string, seen vfs.Info) (*Volume, error) {
	if DeviceOf(seen) == s.root.Device {
		return s.root, nil
	}
	// The name may be the top of another file system itself. And files on an overlay have the device numbers of the
	// layers below.
	renewed := s.renewedTops()
	v, err := s.VolumeFor(path.Dir(name))
	if IsFull(err) {
		if _, missing := s.calls.Lstat(v.StatePath(TrashPart)); missing == nil {
			err = nil
		}
	}
	if err == nil && renewed[v.Top] != s.renewedTops()[v.Top] {
		err = fmt.Errorf("%w: the kernel may have answered that from memory", ErrMoved)
	}
	return v, err
}

// Able returns the abilities of the file system, or none if they have not been probed yet.
func (v *Volume) Able() Abilities {
	if !v.Opened.Load() {
		return Abilities{}
	}
	return v.abilities
}

// IsAtStaged reports whether an error comes from a call on a staged version, and not from a call on the source of its
// content.
func IsAtStaged(err error) bool {
	return slices.Contains(strings.Split(nameInError(err), "/"), OwnDir)
}

// nameInError returns the name at which a call has failed.
func nameInError(err error) string {
	if one, ok := errors.AsType[*iofs.PathError](err); ok {
		return one.Path
	} else if two, ok := errors.AsType[*os.LinkError](err); ok {
		return two.New
	} else if attr, ok := errors.AsType[*xattr.Error](err); ok {
		return attr.Path
	}
	return ""
}

// VolumeOfError returns the volume of the name at which a call has failed.
func (s *Tree) VolumeOfError(err error) *Volume {
	name := nameInError(err)
	best := s.root
	for _, v := range s.Volumes()[1:] {
		if vfs.IsIn(name, v.Top) && vfs.IsIn(v.Top, best.Top) {
			best = v
		}
	}
	return best
}

// IsInState reports whether a name is in the state directory of the volume.
func (v *Volume) IsInState(name string) bool { return vfs.IsIn(name, v.stateAt) }

// IsFull reports whether an error says that the disk has no room, or that the quota of the server's user is used up.
// fs.FS.MakeRoom may help then.
func IsFull(err error) bool {
	return (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && !errors.Is(err, vfs.ErrAttribute)
}

// Block is the least space that a file takes, in bytes.
const Block = 4 << 10

// InBlocks returns the space that a file of a size takes, in bytes.
func InBlocks(size int64) int64 { return (size + Block - 1) / Block * Block }
