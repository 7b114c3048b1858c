package volumes

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// knownVolume returns the known volume for the members of a directory, or nil if there is none.
func (s *Tree) knownVolume(dir string, device MountDevice) *Volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.mounted {
		if v.Device == device && vfs.IsIn(dir, v.Top) {
			return v
		}
	}
	return nil
}

// findVolume looks upwards from a directory for the top of its file system.
func (s *Tree) findVolume(dir string, device MountDevice) (*Volume, error) {
	at := dir
	for at != "." {
		above, err := s.calls.Lstat(path.Dir(at))
		if err != nil {
			return nil, err
		}
		if DeviceOf(above) != device {
			return s.addVolume(at, device), nil
		}
		at = path.Dir(at)
	}
	return s.root, nil
}

// addVolume makes a volume known. It replaces the volume of another file system that was mounted at the same name.
func (s *Tree) addVolume(at string, device MountDevice) *Volume {
	v := s.newVolume(at, device)
	v.ProbeAliases() // another process may have made a state directory there
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.mounted {
		if v.Device == device && v.Top == at {
			return v
		}
	}
	for _, other := range append([]*Volume{s.root}, s.mounted...) {
		if other.Device.Device == device.Device {
			v.names = other.names // a rename in one of the places is a rename in the other one
		}
	}
	s.mounted = slices.DeleteFunc(s.mounted, func(v *Volume) bool { return v.Top == at })
	s.mounted, s.found = append(s.mounted, v), true
	s.publish()
	return v
}

// publish makes readers see which volumes are known. The caller holds mu.
func (s *Tree) publish() {
	below := slices.Clone(s.mounted)
	s.below.Store(&below)
}

// DropVolume forgets a volume that is not mounted there any more.
func (s *Tree) DropVolume(gone *Volume) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mounted = slices.DeleteFunc(s.mounted, func(v *Volume) bool { return v == gone })
	s.publish()
}

// MoveVolumes gives new names to the subvolumes in a directory that was moved.
func (s *Tree) MoveVolumes(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for i, v := range s.mounted {
		if vfs.IsIn(v.Top, from) {
			moved := s.newVolume(to+strings.TrimPrefix(v.Top, from), v.Device)
			moved.HasAliases.Store(v.HasAliases.Load())
			moved.names = v.names
			s.mounted[i], s.found, changed = moved, true, true
		}
	}
	if changed {
		s.publish()
	}
}

// The file volumesName, beside the lock, has one line for each volume: its top, quoted. The file is needed since the
// table of mounts does not list subvolumes.
const volumesName = "places"

func decodeVolumes(data []byte) (at []string) {
	for line := range strings.Lines(string(data)) {
		if name, err := strconv.Unquote(strings.TrimSpace(line)); err == nil && iofs.ValidPath(name) && name != "." {
			at = append(at, name)
		}
	}
	return at
}

// PartOf returns the directory of the operating system that was served when the server made a state directory in dir as
// a part of it. If dir is no part of another directory, PartOf returns dir.
func PartOf(dir string) string {
	for above := filepath.Dir(dir); ; above = filepath.Dir(above) {
		noted, _ := readNoWait(filepath.Join(above, OwnDir, volumesName))
		at, err := filepath.Rel(above, dir)
		if err == nil && slices.Contains(decodeVolumes(noted), filepath.ToSlash(at)) {
			return above
		}
		if above == filepath.Dir(above) {
			return dir
		}
	}
}

// readNoWait reads a file of the operating system. It does not wait for a program that may write to the file.
func readNoWait(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|vfs.NoWait, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// remember notes the top of a volume for later processes.
func (v *Volume) remember() error {
	data, err := v.t.ReadState(volumesName)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) || slices.Contains(decodeVolumes(data), v.Top) {
		return err
	}
	f, err := v.t.calls.Append(OwnDir + "/" + volumesName)
	if err != nil {
		return err
	}
	defer f.Close()
	v.t.GiveToOwner(f, OwnDir+"/"+volumesName)
	// The data begins with a newline, in case the power failed in the middle of the line before.
	if _, err := f.Write(fmt.Appendf(nil, "\n%q\n", v.Top)); err != nil {
		return err
	}
	if v.t.opts.Durability != Full {
		return nil
	}
	return errors.Join(f.Sync(), v.t.SyncState())
}

// Discover looks for volumes that other processes have made, and forgets volumes that are not mounted any more. It
// reports whether any volumes were found since the last call. These volumes may need recovery. Discover leaves a volume
// that does not answer as it is.
func (s *Tree) Discover() bool {
	noted, _ := s.ReadState(volumesName)
	at, _ := s.calls.Mounts(".")
	s.mountedAt.Store(&at)
	mounted := append(decodeVolumes(noted), at...)
	known := s.Volumes()[1:]
	answers := s.Answer(slices.Concat(slices.Collect(maps.Keys(s.renewedTops())), mounted, topsOf(known)))
	s.forgetRenewed(answers)
	for _, v := range known {
		if !answers[v.Top] {
			continue
		}
		info, err := s.calls.Lstat(v.Top)
		there := err == nil && DeviceOf(info) == v.Device
		if there && v.Opened.Load() { // otherwise our session may be about to be made
			// The kernel gives the numbers of an unmounted file system to the file system that is mounted next.
			alive, err := s.calls.Lstat(v.Session + "/" + AliveName)
			there = err == nil && alive.SameFile(v.Made)
		}
		if !there {
			s.DropVolume(v)
		}
	}
	for _, at := range mounted {
		if !answers[at] {
			continue
		}
		info, err := s.calls.Lstat(at)
		if err != nil || DeviceOf(info) == s.root.Device || s.knownVolume(at, DeviceOf(info)) != nil {
			continue
		}
		v := s.newVolume(at, DeviceOf(info))
		formatted, err := v.checkFormat()
		if err != nil {
			continue
		}
		if formatted {
			v.ProbeAliases() // even if other users can write to the state directory
		}
		if stage, err := s.calls.Lstat(v.StatePath(StagePart)); err == nil && stage.Kind == vfs.Directory &&
			v.isHeld() {
			s.addVolume(at, DeviceOf(info))
		}
	}
	s.forgetLocks()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.found
	s.found = false
	return found
}
