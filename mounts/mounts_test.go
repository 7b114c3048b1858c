package mounts

import (
	"strings"
	"testing"
)

func TestMountKinds(t *testing.T) {
	for kind, want := range map[string]struct{ elsewhere, virtual bool }{
		"ext4": {}, "xfs": {}, "tmpfs": {}, "overlay": {}, "fuseblk": {}, "vfat": {}, "": {}, "unheard-of": {},
		"nfs": {elsewhere: true}, "nfs4": {elsewhere: true}, "cifs": {elsewhere: true}, "smb3": {elsewhere: true},
		"9p": {elsewhere: true}, "virtiofs": {elsewhere: true}, "fuse": {elsewhere: true}, "fuse.sshfs": {elsewhere: true},
		"ceph": {elsewhere: true}, "ocfs2": {elsewhere: true}, "lustre": {elsewhere: true}, "coda": {elsewhere: true},
		"proc": {virtual: true}, "cgroup2": {virtual: true}, "autofs": {virtual: true}, "binder": {virtual: true},
	} {
		m := Mount{Kind: kind}
		if got := m.IsElsewhere(); got != want.elsewhere {
			t.Errorf("%q: elsewhere is %v", kind, got)
		}
		if got := m.IsVirtual(); got != want.virtual {
			t.Errorf("%q: virtual is %v", kind, got)
		}
	}
}

// A kind has one row, and a magic number that two rows share means the same to the calls that go by it.
func TestKindsAreUnambiguous(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range kinds {
		for _, name := range strings.Fields(k.names) {
			if seen[name] {
				t.Errorf("%q has two rows", name)
			}
			seen[name] = true
		}
		if k.magic != 0 && byMagic[k.magic]&^elsewhere != k.traits&^elsewhere {
			t.Errorf("%s: %#x means something else in another row", k.names, k.magic)
		}
	}
}
