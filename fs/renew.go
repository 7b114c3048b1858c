package fs

import (
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"ifmatch/fs/vfs"
)

// Some file systems take several names for one, and have the kernel remember what each stands for (FUSE). The kernel does
// not know that a commit by one spelling has changed what the others stand for. So on such a disk each name is renewed
// before it is used: the disk is asked what it takes it for. Other disks pay nothing for that.
//
// Where each spelling has an inode of its own for the kernel, an open file is looked at by the spelling that it was opened
// by: once that stands for another file, a look at the open one is a look at that. See [FS.Open] and [FS.Refresh].

// A renewal is what is known of a volume whose names are renewed.
type renewal struct {
	device mountDevice
	// apart: two spellings of a name are seen as two inodes, so that an inode does not tell whether a file is another one.
	apart bool
}

// renewBelow has the names on a volume renewed, if the kernel may answer from memory what they stand for. The caller has
// found that the volume takes these two for one.
func (v *volume) renewBelow(name, other string) {
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
	a, failed := v.calls.Lstat(name)
	b, err := v.calls.Lstat(other)
	r := renewal{v.device, failed != nil || err != nil || !a.SameFile(b)}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.renewed[v.top] != r {
		v.setRenewed(v.top, r)
	}
}

// setRenewed says how names below a top are renewed; the zero value: not at all. The caller holds mu.
func (s *FS) setRenewed(top string, r renewal) {
	tops := maps.Clone(s.renewed)
	if tops == nil {
		tops = map[string]renewal{}
	}
	if tops[top] = r; r == (renewal{}) {
		delete(tops, top)
	}
	s.renewed = tops
	s.calls.RenewNames(func(name string) (in string, ok bool) {
		if in, ok = topOf(name, tops); !ok || name == in {
			return "", false
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(name, in+"/"), "/")
		return in, first != stateDir // names there have one spelling
	})
}

// topOf returns the lowest of some tops that a name is in.
func topOf(name string, tops map[string]renewal) (in string, ok bool) {
	for top := range tops {
		if isIn(name, top) && (!ok || isIn(top, in)) {
			in, ok = top, true
		}
	}
	return in, ok
}

// maxReopened bounds how often a file is opened again because its name stood for another one by then.
const maxReopened = 16

// isOther reports whether a look at an open file is one at another file than it was opened as.
func (r renewal) isOther(opened, now Info) bool {
	return !now.SameFile(opened) || r.apart && now.Fingerprint != opened.Fingerprint
}

// pin sees to it that an open file is looked at as what it is, where its name is renewed. It was opened between two looks;
// with ErrMoved it may be what was there in between.
func (s *FS) pin(f *File, before, after Info) error {
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
	f.Pin(func(now Info) error {
		if r.isOther(after, now) {
			return ErrMoved
		}
		return nil
	})
	return nil
}

// renewedTops returns the tops below which names are renewed.
func (s *FS) renewedTops() map[string]renewal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewed
}

// forgetRenewed drops what is not mounted any more, of what answers.
func (s *FS) forgetRenewed(answers map[string]bool) {
	for top, r := range s.renewedTops() {
		if top != "." && !answers[top] {
			continue
		}
		if info, err := s.calls.Lstat(top); err == nil && deviceOf(info) != r.device {
			s.mu.Lock()
			s.setRenewed(top, renewal{})
			s.mu.Unlock()
		}
	}
}

// probeSpellings has the names on a volume renewed if it takes several for one, though the name of the state directory may
// not tell. It reports whether that does not help, since the kernel does not ask. It is for volumes whose names are recalled.
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
		v.renewBelow(name, dir+spellings[i])
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
