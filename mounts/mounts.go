// Package mounts finds the mounts below a directory, their kinds, and the capabilities of file systems of each kind.
package mounts

import "strings"

// A Mount is one line of the table of mounts.
type Mount struct {
	ID   uint64 // from statx(2). 0: not known. Before Linux 6.8 a new mount can get the number of one that is gone
	Kind string // of the file system, such as ext4
}

// A Volume has the properties of a file system that hold for each mount of it.
type Volume struct {
	Name     string // identifies the file system. "": it has no name
	LongOnly bool   // no file has a second, short name, as files on FAT have
	Numbered bool   // an inode number stands for the same file after the next mount, too
	Modeless bool   // there may be no modes, or one mode for all files
	Recalled bool   // the kernel may remember which file a name stands for, for each spelling by itself
	Leases   bool   // file systems of this kind have leases. Whether they work was not tried
}

// A trait is a property of all file systems of a kind.
type trait uint16

const (
	numbered  trait = 1 << iota // see Volume
	leases                      // see Volume
	longOnly                    // see Volume
	modeless                    // see Volume
	recalled                    // see Volume
	named                       // f_fsid of statfs(2) comes from data on the disk, or from the identity of the disk
	unsynced                    // syncfs(2) sends data to a server or daemon, and does not have it synced there
	elsewhere                   // other machines or daemons change files without this kernel's knowledge
	virtual                     // the kernel or a daemon makes up the files: no data is stored
)

const disk = numbered | leases | longOnly | named

// A kind is one row of the table of kinds.
type kind struct {
	magic  uint32 // f_type of statfs(2). 0: no call depends on it
	traits trait
	names  string // as in the table of mounts
}

// kinds is the one table of the capabilities of file systems. The first row with a magic number counts.
//
// A kind that is not in the table has no trait. FAT, and file systems that a daemon or a Windows server serves, can
// number their inodes when they are looked up: sshfs and mergerfs do so, and no call tells which daemons do not. Two
// images (SquashFS, EROFS, ISO 9660) can have a file with the same number, size and time, since all times are those of
// a release.
var kinds = []kind{
	{0xef53, disk, "ext2 ext3 ext4"},
	{0x58465342, disk, "xfs"},
	{0x9123683e, disk, "btrfs"},
	{0xf2f52010, disk, "f2fs"},
	{0x794c7630, disk, "overlay"},
	{0x2fc12fc1, disk, "zfs"},
	{0xca451a4e, disk, "bcachefs"},
	{0x01021994, numbered | leases | longOnly, "tmpfs"},

	{0x00004d44, modeless, "vfat msdos"},
	{0x2011bab0, modeless, "exfat"},
	{0x7366746e, modeless, "ntfs ntfs3"},
	{0x0000517b, modeless | unsynced | elsewhere, "smbfs"},
	{0xff534d42, modeless | unsynced | elsewhere, "cifs"},
	{0xfe534d42, modeless | unsynced | elsewhere, "smb3"},
	{0x65735546, modeless | recalled | unsynced | elsewhere, "fuse virtiofs"},
	{0x65735546, modeless | recalled | unsynced, "fuseblk"},
	{0x01021997, modeless | unsynced | elsewhere, "9p"},

	{0x00006969, numbered | elsewhere, "nfs nfs4"},
	{0x00c36400, numbered | elsewhere, "ceph"},
	{0x7461636f, numbered | elsewhere, "ocfs2"},
	{0x00003434, numbered, "nilfs2"},
	{0x52654973, numbered, "reiserfs"},

	{0, elsewhere, "vboxsf prl_fs afs lustre gpfs beegfs orangefs gfs2 coda"},

	{0, virtual, "proc sysfs cgroup cgroup2 cpuset resctrl debugfs tracefs devpts devtmpfs securityfs"},
	{0, virtual, "selinuxfs smackfs apparmorfs pstore bpf configfs mqueue hugetlbfs binfmt_misc efivarfs"},
	{0, virtual, "fusectl functionfs binder"},
	{0, virtual, "rpc_pipefs nfsd nsfs pidfs autofs"},
}

// byName and byMagic are the rows of the table by name and by magic number.
var byName, byMagic = func() (map[string]trait, map[uint32]trait) {
	byName, byMagic := map[string]trait{}, map[uint32]trait{}
	for _, k := range kinds {
		for _, name := range strings.Fields(k.names) {
			byName[name] = k.traits
		}
		if _, ok := byMagic[k.magic]; !ok && k.magic != 0 {
			byMagic[k.magic] = k.traits
		}
	}
	return byName, byMagic
}()

// IsElsewhere reports whether other machines or daemons can change files without this kernel's knowledge.
func (m Mount) IsElsewhere() bool {
	kind, _, _ := strings.Cut(m.Kind, ".") // fuse.sshfs, cifs.upcall
	return byName[kind]&elsewhere != 0
}

// IsVirtual reports whether no data is stored: the kernel, or a daemon that mounts other file systems, makes up the
// files when they are read.
func (m Mount) IsVirtual() bool { return byName[m.Kind]&virtual != 0 }
