//go:build amd64 || arm64

package folding

import (
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A node is a file, a directory or a link.
type node struct {
	ino      uint64
	mode     uint32
	owner    fuse.Owner
	links    uint32
	data     []byte // of a link, where it leads
	attrs    map[string][]byte
	members  map[string]*entry // by the key that Fold makes of their names
	modified time.Time
	changed  time.Time
}

// An entry is a name in a directory.
type entry struct {
	name string
	node *node
}

// A place is the name that a number stands for where each spelling has a number.
type place struct {
	dir  uint64
	name string
}

type fileSystem struct {
	fuse.RawFileSystem
	rules Rules

	mu      sync.Mutex
	root    *node
	last    uint64           // number or handle
	nodes   map[uint64]*node // by number. Where each spelling has one, those that have lost their name
	places  map[uint64]place
	numbers map[place]uint64
	open    map[uint64]*node    // by handle
	lists   map[uint64][]*entry // by handle
}

func newFileSystem(rules Rules) *fileSystem {
	fs := &fileSystem{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), rules: rules, last: fuse.FUSE_ROOT_ID,
		nodes: map[uint64]*node{}, places: map[uint64]place{}, numbers: map[place]uint64{},
		open: map[uint64]*node{}, lists: map[uint64][]*entry{},
	}
	fs.root = &node{ino: fuse.FUSE_ROOT_ID, mode: fuse.S_IFDIR | 0o777, links: 1, members: map[string]*entry{}}
	fs.root.touch(true)
	fs.nodes[fuse.FUSE_ROOT_ID] = fs.root
	return fs
}

func (fs *fileSystem) String() string { return "folding" }

func (n *node) touch(content bool) {
	n.changed = time.Now()
	if content {
		n.modified = n.changed
	}
}

func (fs *fileSystem) number() uint64 {
	fs.last++
	return fs.last
}

// node returns the file that a number or a handle stands for, or nil.
func (fs *fileSystem) node(number, handle uint64) *node {
	if n, ok := fs.open[handle]; ok {
		return n
	}
	if !fs.rules.Numbered || number == fuse.FUSE_ROOT_ID {
		return fs.nodes[number]
	}
	p, ok := fs.places[number]
	if !ok {
		return fs.nodes[number]
	}
	dir := fs.node(p.dir, 0)
	if dir == nil {
		return nil
	}
	if e := fs.find(dir, p.name); e != nil {
		return e.node
	}
	return nil
}

// longest is the most bytes that a name may have.
const longest = 255

func (fs *fileSystem) find(dir *node, name string) *entry {
	if e, ok := dir.members[fs.rules.Fold(name)]; ok {
		return e
	}
	for _, e := range dir.members {
		if short := fs.rules.short(e.name); short != "" && fs.rules.Fold(short) == fs.rules.Fold(name) {
			return e
		}
	}
	return nil
}

func (fs *fileSystem) add(dir *node, name string, n *node) {
	if fs.rules.Stored != nil {
		name = fs.rules.Stored(name)
	}
	dir.members[fs.rules.Fold(name)] = &entry{name, n}
	dir.touch(true)
	n.touch(false)
}

func (fs *fileSystem) drop(dir *node, e *entry) {
	delete(dir.members, fs.rules.Fold(e.name))
	dir.touch(true)
	e.node.touch(false)
}

// numberOf returns the number that a name has for the kernel.
func (fs *fileSystem) numberOf(dir uint64, name string, n *node) uint64 {
	if !fs.rules.Numbered {
		fs.nodes[n.ino] = n
		return n.ino
	}
	p := place{dir, name}
	number, ok := fs.numbers[p]
	if !ok {
		number = fs.number()
		fs.numbers[p], fs.places[number] = number, p
	}
	return number
}

// forgetName takes a number its name, which stood for a node.
func (fs *fileSystem) forgetName(p place, n *node) {
	if number, ok := fs.numbers[p]; ok {
		delete(fs.numbers, p)
		delete(fs.places, number)
		fs.nodes[number] = n // it may be open
	}
}

func (fs *fileSystem) attr(n *node, number uint64, out *fuse.Attr) {
	if fs.rules.Inodes {
		number = n.ino
	}
	*out = fuse.Attr{Ino: number, Size: uint64(len(n.data)), Mode: n.mode, Nlink: n.links, Owner: n.owner,
		Blksize: 4096}
	out.SetTimes(&n.modified, &n.modified, &n.changed)
}

func (fs *fileSystem) entryOut(dir uint64, name string, n *node, out *fuse.EntryOut) {
	out.NodeId = fs.numberOf(dir, name, n)
	fs.attr(n, out.NodeId, &out.Attr)
	if fs.rules.Cached {
		out.SetEntryTimeout(time.Second)
		out.SetAttrTimeout(time.Second)
	}
}

func (fs *fileSystem) Lookup(_ <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir := fs.node(header.NodeId, 0)
	if dir == nil {
		return fuse.ENOENT
	}
	if len(name) > longest {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	e := fs.find(dir, name)
	if e == nil && fs.rules.Absent {
		*out = fuse.EntryOut{}
		out.SetEntryTimeout(time.Second)
		return fuse.OK
	}
	if e == nil {
		return fuse.ENOENT
	}
	fs.entryOut(header.NodeId, name, e.node, out)
	return fuse.OK
}

func (fs *fileSystem) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.node(in.NodeId, in.Fh())
	if n == nil {
		return fuse.ENOENT
	}
	fs.attr(n, in.NodeId, &out.Attr)
	return fuse.OK
}

func (fs *fileSystem) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	handle, _ := in.GetFh()
	n := fs.node(in.NodeId, handle)
	if n == nil {
		return fuse.ENOENT
	}
	n.touch(false)
	if mode, ok := in.GetMode(); ok {
		n.mode = n.mode&^0o7777 | mode&0o7777
	}
	if user, ok := in.GetUID(); ok {
		n.owner.Uid = user
	}
	if group, ok := in.GetGID(); ok {
		n.owner.Gid = group
	}
	if size, ok := in.GetSize(); ok {
		n.data = append(n.data, make([]byte, max(int(size)-len(n.data), 0))...)[:size]
		n.touch(true)
	}
	if modified, ok := in.GetMTime(); ok {
		n.modified = modified
	}
	fs.attr(n, in.NodeId, &out.Attr)
	return fuse.OK
}

// make makes a node with a name that is free.
func (fs *fileSystem) make(header *fuse.InHeader, name string, n *node, out *fuse.EntryOut) fuse.Status {
	dir := fs.node(header.NodeId, 0)
	if dir == nil {
		return fuse.ENOENT
	}
	if fs.find(dir, name) != nil {
		return fuse.Status(syscall.EEXIST)
	}
	n.ino, n.owner = fs.number(), header.Owner
	n.links++
	n.touch(true)
	fs.add(dir, name, n)
	fs.entryOut(header.NodeId, name, n, out)
	return fuse.OK
}

func (fs *fileSystem) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.make(&in.InHeader, name, &node{mode: fuse.S_IFDIR | in.Mode&0o7777, members: map[string]*entry{}}, out)
}

func (fs *fileSystem) Symlink(_ <-chan struct{}, header *fuse.InHeader, target, name string,
	out *fuse.EntryOut) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.rules.Plain {
		return fuse.EPERM
	}
	return fs.make(header, name, &node{mode: fuse.S_IFLNK | 0o777, data: []byte(target)}, out)
}

func (fs *fileSystem) Readlink(_ <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.node(header.NodeId, 0)
	if n == nil {
		return nil, fuse.ENOENT
	}
	return n.data, fuse.OK
}

func (fs *fileSystem) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir, n := fs.node(in.NodeId, 0), fs.node(in.Oldnodeid, 0)
	switch {
	case fs.rules.Plain:
		return fuse.EPERM
	case dir == nil || n == nil:
		return fuse.ENOENT
	case fs.find(dir, name) != nil:
		return fuse.Status(syscall.EEXIST)
	}
	n.links++
	fs.add(dir, name, n)
	fs.entryOut(in.NodeId, name, n, out)
	return fuse.OK
}

func (fs *fileSystem) remove(header *fuse.InHeader, name string, directory bool) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir := fs.node(header.NodeId, 0)
	if dir == nil {
		return fuse.ENOENT
	}
	e := fs.find(dir, name)
	switch {
	case e == nil:
		return fuse.ENOENT
	case directory && e.node.members == nil:
		return fuse.ENOTDIR
	case !directory && e.node.members != nil:
		return fuse.EISDIR
	case len(e.node.members) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	}
	e.node.links--
	fs.drop(dir, e)
	fs.forgetName(place{header.NodeId, name}, e.node)
	return fuse.OK
}

func (fs *fileSystem) Unlink(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return fs.remove(header, name, false)
}

func (fs *fileSystem) Rmdir(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return fs.remove(header, name, true)
}

func (fs *fileSystem) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	from, to := fs.node(in.NodeId, 0), fs.node(in.Newdir, 0)
	if from == nil || to == nil {
		return fuse.ENOENT
	}
	e, over := fs.find(from, oldName), fs.find(to, newName)
	switch {
	case e == nil:
		return fuse.ENOENT
	case in.Flags&unix.RENAME_EXCHANGE != 0 && fs.rules.Plain:
		return fuse.EINVAL
	case in.Flags&unix.RENAME_EXCHANGE != 0:
		if over == nil {
			return fuse.ENOENT
		}
		fs.swapNames(place{in.NodeId, oldName}, e.node, place{in.Newdir, newName}, over.node)
		e.node, over.node = over.node, e.node
		for _, n := range []*node{from, to} {
			n.touch(true)
		}
		e.node.touch(false)
		over.node.touch(false)
		return fuse.OK
	case over != nil && over != e && in.Flags&unix.RENAME_NOREPLACE != 0:
		return fuse.Status(syscall.EEXIST)
	case over != nil && over != e && len(over.node.members) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	}
	old, new := place{in.NodeId, oldName}, place{in.Newdir, newName}
	if over != nil && over != e {
		over.node.links--
		fs.drop(to, over)
		fs.forgetName(new, over.node)
	}
	fs.drop(from, e)
	fs.add(to, newName, e.node)
	number, ok := fs.numbers[old]
	fs.forgetName(old, e.node)
	if ok {
		fs.numbers[new], fs.places[number] = number, new
	}
	return fuse.OK
}

func (fs *fileSystem) swapNames(a place, atA *node, b place, atB *node) {
	x, y := fs.numbers[a], fs.numbers[b]
	fs.forgetName(a, atA)
	fs.forgetName(b, atB)
	for number, p := range map[uint64]place{x: b, y: a} {
		if number != 0 {
			fs.numbers[p], fs.places[number] = number, p
		}
	}
}
