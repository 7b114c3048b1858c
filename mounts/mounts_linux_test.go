package mounts

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The table's magic numbers are those of the kernel's headers.
func TestMagicNumbers(t *testing.T) {
	for names, magic := range map[string]uint32{
		"ext2 ext3 ext4": unix.EXT4_SUPER_MAGIC, "xfs": unix.XFS_SUPER_MAGIC, "btrfs": unix.BTRFS_SUPER_MAGIC,
		"f2fs": unix.F2FS_SUPER_MAGIC, "overlay": unix.OVERLAYFS_SUPER_MAGIC, "tmpfs": unix.TMPFS_MAGIC,
		"vfat msdos": unix.MSDOS_SUPER_MAGIC, "exfat": unix.EXFAT_SUPER_MAGIC, "smbfs": unix.SMB_SUPER_MAGIC,
		"cifs": unix.CIFS_SUPER_MAGIC, "smb3": unix.SMB2_SUPER_MAGIC, "fuse virtiofs": unix.FUSE_SUPER_MAGIC,
		"fuseblk": unix.FUSE_SUPER_MAGIC, "9p": unix.V9FS_MAGIC, "nfs nfs4": unix.NFS_SUPER_MAGIC,
		"ceph": unix.CEPH_SUPER_MAGIC, "ocfs2": unix.OCFS2_SUPER_MAGIC, "nilfs2": unix.NILFS_SUPER_MAGIC,
		"reiserfs": unix.REISERFS_SUPER_MAGIC,
	} {
		if !slices.ContainsFunc(kinds, func(k kind) bool { return k.names == names && k.magic == magic }) {
			t.Errorf("no row has %#x and %q", magic, names)
		}
	}
}

// What the table of mounts says of a directory, and what statfs says, are of one file system.
func TestMountOfADirectory(t *testing.T) {
	dir := "/dev/shm"
	mount, ok := In(dir)[""]
	if !ok || mount.Kind != "tmpfs" {
		t.Skipf("NOT RUN: %s is of kind %q", dir, mount.Kind)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, want := VolumeOf(f), (Volume{LongOnly: true, Numbered: true, Leases: true}); got != want {
		t.Errorf("%s is %+v, want %+v", dir, got, want)
	}
	if ok, err := CanSync(f); !ok || err != nil {
		t.Errorf("%s cannot be synced, error %v", dir, err)
	}
	root, err := os.Open("/dev")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	below, err := Below(root, "shm")
	if err != nil || !slices.Contains(below, "shm") || slices.ContainsFunc(below, func(name string) bool {
		return !strings.HasPrefix(name, "shm")
	}) {
		t.Errorf("below /dev/shm: %q, error %v", below, err)
	}
}
