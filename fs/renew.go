package fs

import (
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"ifmatch/fs/vfs"
)

// A file system that takes several names for one, and whose names the kernel remembers (FUSE), has no one to tell the kernel that
// a commit by one spelling has changed what the others stand for. So on such a disk each name is renewed before it is used: the
// disk is asked what it takes it for. Others pay nothing for that.

// renewBelow has the names on a volume renewed, if the kernel may answer them from memory. The caller has found that the volume
// takes several for one.
func (v *volume) renewBelow() {
	f, err := v.calls.Open(v.top)
	if err != nil {
		f, err = v.calls.Open(v.statePath("")) // its user may not list what is served
	}
	if err != nil {
		return
	}
	defer f.Close()
	if !f.Volume().Recalled {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.renewed[v.top] != v.device {
		v.setRenewed(v.top, v.device)
	}
}

// setRenewed adds a top to those below which names are renewed; with no device it takes it away. The caller holds mu.
func (s *FS) setRenewed(top string, device mountDevice) {
	tops := maps.Clone(s.renewed)
	if tops == nil {
		tops = map[string]mountDevice{}
	}
	if tops[top] = device; device == (mountDevice{}) {
		delete(tops, top)
	}
	s.renewed = tops
	s.calls.RenewNames(func(name string) (in string, ok bool) {
		for top := range tops {
			if isIn(name, top) && (!ok || isIn(top, in)) {
				in, ok = top, true
			}
		}
		if !ok || name == in {
			return "", false
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(name, in+"/"), "/")
		return in, first != stateDir // names there have one spelling
	})
}

// renewedTops returns the tops below which names are renewed.
func (s *FS) renewedTops() map[string]mountDevice {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewed
}

// forgetRenewed drops what is not mounted any more.
func (s *FS) forgetRenewed() {
	for top, device := range s.renewedTops() {
		if info, err := s.calls.Lstat(top); err == nil && deviceOf(info) != device {
			s.mu.Lock()
			s.setRenewed(top, mountDevice{})
			s.mu.Unlock()
		}
	}
}

// probeSpellings has the names on a volume renewed if it takes several for one, though the name of the state directory may not
// tell. It reports whether that does not help, since the kernel does not ask. It is for volumes whose names are recalled.
func (v *volume) probeSpellings() (stale bool) {
	name := v.unique(v.session, newPrefix) + "\u00fc"
	f, err := v.calls.Create(name)
	if err != nil {
		return false
	}
	f.Close()
	dir, base := path.Split(name)
	spellings := []string{strings.ToUpper(base), norm.NFD.String(base), base + ".", base + "\u00ad"}
	i := slices.IndexFunc(spellings, func(other string) bool {
		_, err := v.calls.Lstat(dir + other)
		return err == nil
	})
	if i >= 0 {
		v.renewBelow()
		if v.calls.Rename(name, name+"-") == nil {
			name += "-"
			v.calls.System().Renew(vfs.At{}, v.session, spellings[i])
			_, err := v.calls.Lstat(dir + spellings[i])
			stale = err == nil
		}
	}
	_ = v.calls.Remove(name) // what stays goes with the session
	return stale
}
