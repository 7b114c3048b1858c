package volumes

import (
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// Some file systems (FUSE) take several spellings for one name, and have the kernel remember which file each spelling
// stands for. The kernel does not know that a commit by one spelling has changed the file of the other spellings. So on
// such a file system each name is renewed before it is used: the kernel asks the file system again which file the name
// stands for. Other file systems pay nothing for that.
//
// If the kernel has an inode of its own for each spelling, it looks at an open file by the spelling with which the file
// was opened. As soon as that spelling stands for another file, a look at the open file shows the other file. See
// [Tree.Open] and [vfs.File.Stat].

// A renewal describes a volume whose names are renewed.
type renewal struct {
	device MountDevice
	// apart says that the kernel shows two spellings of a name as two inodes, so that an inode does not tell whether a
	// file is another one.
	apart bool
}

// renewBelow has the names on a volume renewed, if the kernel may remember which files they stand for. The caller has
// found that the volume takes name and other for one name.
func (v *Volume) renewBelow(name, other string) {
	f, err := v.t.calls.Open(v.Top)
	if err != nil {
		f, err = v.t.calls.Open(v.stateAt) // the server's user may have no permission to list the top
	}
	if err != nil {
		return
	}
	defer f.Close()
	if !f.Volume().Recalled {
		return
	}
	a, failed := v.t.calls.Lstat(name)
	b, err := v.t.calls.Lstat(other)
	r := renewal{v.Device, failed != nil || err != nil || !a.SameFile(b)}
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	if v.t.renewed[v.Top] != r {
		v.t.setRenewed(v.Top, r)
	}
}

// setRenewed sets how names below a top are renewed. The zero value says that they are not renewed. The caller holds
// mu.
func (s *Tree) setRenewed(top string, r renewal) {
	tops := maps.Collect(maps.All(s.renewed))
	if tops[top] = r; r == (renewal{}) {
		delete(tops, top)
	}
	s.renewed = tops
	s.calls.RenewNames(func(name string) (in string, ok bool) {
		if in, ok = topOf(name, tops); !ok || name == in {
			return "", false
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(name, in+"/"), "/")
		return in, first != OwnDir // the server uses one spelling for each name in there
	})
}

// topOf returns the lowest of some tops that a name is below, or equal to.
func topOf(name string, tops map[string]renewal) (in string, ok bool) {
	for top := range tops {
		if vfs.IsIn(name, top) && (!ok || vfs.IsIn(top, in)) {
			in, ok = top, true
		}
	}
	return in, ok
}

// maxReopened bounds how often a file is opened again because its name stood for another file by then.
const maxReopened = 16

// isOther reports whether a look at an open file shows another file than the one that was opened.
func (r renewal) isOther(opened, now vfs.Info) bool {
	return !now.SameFile(opened) || r.apart && now.Fingerprint != opened.Fingerprint
}

// pin makes later looks at an open file fail with ErrMoved if they show another file, in case the name of the file is
// renewed. The file was opened between the looks before and after. If pin itself fails with ErrMoved, the open file may
// be one that had the name only between the two looks.
func (s *Tree) pin(f *vfs.File, before, after vfs.Info) error {
	tops := s.renewedTops()
	if len(tops) == 0 {
		return nil
	}
	top, ok := topOf(f.Name(), tops)
	if !ok {
		return nil
	}
	r := tops[top]
	if r.isOther(before, after) {
		return ErrMoved
	}
	f.Pin(func(now vfs.Info) error {
		if r.isOther(after, now) {
			return ErrMoved
		}
		return nil
	})
	return nil
}

// renewedTops returns the tops below which names are renewed.
func (s *Tree) renewedTops() map[string]renewal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewed
}

// forgetRenewed drops the renewals of tops that are not mounted any more. It looks only at tops that answer.
func (s *Tree) forgetRenewed(answers map[string]bool) {
	for top, r := range s.renewedTops() {
		if top != "." && !answers[top] {
			continue
		}
		if info, err := s.calls.Lstat(top); err == nil && DeviceOf(info) != r.device {
			s.mu.Lock()
			s.setRenewed(top, renewal{})
			s.mu.Unlock()
		}
	}
}

// ProbeSpellings has the names on a volume renewed if the volume takes several spellings for one name. The name of the
// state directory may not show this. stale reports that renewal does not help, since the kernel does not ask the file
// system again. The volume must be one whose names the kernel remembers.
func (v *Volume) ProbeSpellings() (stale bool) {
	name := v.t.Unique(v.Session, NewPrefix) + "\u00fc"
	f, err := v.t.calls.Create(name)
	if err != nil {
		return false
	}
	f.Close()
	dir, base := path.Split(name)
	spellings := []string{strings.ToUpper(base), norm.NFD.String(base), base + ".", base + "\u00ad"}
	i := slices.IndexFunc(spellings, func(other string) bool {
		_, err := v.t.calls.Lstat(dir + other)
		return err == nil
	})
	if i >= 0 {
		v.renewBelow(name, dir+spellings[i])
		if v.t.calls.Rename(name, name+"-") == nil {
			name += "-"
			v.t.calls.System().Renew(vfs.At{}, v.Session, spellings[i])
			_, err := v.t.calls.Lstat(dir + spellings[i])
			stale = err == nil
		}
	}
	_ = v.t.calls.Remove(name) // if this fails, the file is removed with the session
	return stale
}
