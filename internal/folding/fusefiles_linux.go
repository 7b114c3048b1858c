//go:build amd64 || arm64

package folding

import (
	"maps"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// These are the calls of open files and directories, and of extended attributes.

// handle opens a node. Nothing is mapped into memory, since the test would wait for itself.
func (fs *fileSystem) handle(n *node, out *fuse.OpenOut) {
	out.Fh, out.OpenFlags = fs.number(), fuse.FOPEN_DIRECT_IO
	fs.open[out.Fh] = n
}

func (fs *fileSystem) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := &node{mode: fuse.S_IFREG | in.Mode&0o7777}
	status := fs.make(&in.InHeader, name, n, &out.EntryOut)
	if status == fuse.OK {
		fs.handle(n, &out.OpenOut)
	}
	return status
}

func (fs *fileSystem) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.node(in.NodeId, 0)
	if n == nil {
		return fuse.ENOENT
	}
	if in.Flags&syscall.O_TRUNC != 0 {
		n.data = nil
		n.touch(true)
	}
	fs.handle(n, out)
	return fuse.OK
}

func (fs *fileSystem) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.open[in.Fh]
	from := min(in.Offset, uint64(len(n.data)))
	return fuse.ReadResultData(buf[:copy(buf, n.data[from:])]), fuse.OK
}

func (fs *fileSystem) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.open[in.Fh]
	if end := int(in.Offset) + len(data); end > len(n.data) {
		n.data = append(n.data, make([]byte, end-len(n.data))...)
	}
	copy(n.data[in.Offset:], data)
	n.touch(true)
	return uint32(len(data)), fuse.OK
}

func (fs *fileSystem) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.open, in.Fh)
}

func (fs *fileSystem) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status    { return fuse.OK }
func (fs *fileSystem) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status    { return fuse.OK }
func (fs *fileSystem) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

func (fs *fileSystem) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.node(in.NodeId, 0)
	if n == nil {
		return fuse.ENOENT
	}
	fs.handle(n, out)
	out.OpenFlags = 0
	for _, key := range slices.Sorted(maps.Keys(n.members)) {
		e := *n.members[key]
		fs.lists[out.Fh] = append(fs.lists[out.Fh], &e)
	}
	return fuse.OK
}

func (fs *fileSystem) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	list := fs.lists[in.Fh]
	for i := int(in.Offset); i < len(list); i++ {
		if !out.AddDirEntry(fuse.DirEntry{Name: list[i].name, Mode: list[i].node.mode, Ino: list[i].node.ino,
			Off: uint64(i + 1)}) {
			break
		}
	}
	return fuse.OK
}

func (fs *fileSystem) ReleaseDir(in *fuse.ReleaseIn) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.open, in.Fh)
	delete(fs.lists, in.Fh)
}

// withAttributes returns a node whose extended attributes are asked for. mu must be held.
func (fs *fileSystem) withAttributes(id uint64) (*node, fuse.Status) {
	n := fs.node(id, 0)
	switch {
	case n == nil:
		return nil, fuse.ENOENT
	case fs.rules.Plain:
		return nil, fuse.Status(syscall.ENOTSUP)
	}
	return n, fuse.OK
}

func (fs *fileSystem) GetXAttr(_ <-chan struct{}, header *fuse.InHeader, name string,
	dest []byte) (uint32, fuse.Status) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, status := fs.withAttributes(header.NodeId)
	if status != fuse.OK {
		return 0, status
	}
	value, ok := n.attrs[name]
	if !ok {
		return 0, fuse.ENOATTR
	}
	return fill(dest, value)
}

func fill(dest, value []byte) (uint32, fuse.Status) {
	if len(dest) < len(value) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}

func (fs *fileSystem) ListXAttr(_ <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, status := fs.withAttributes(header.NodeId)
	if status != fuse.OK {
		return 0, status
	}
	var names []byte
	for name := range n.attrs {
		names = append(names, name+"\x00"...)
	}
	return fill(dest, names)
}

func (fs *fileSystem) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, data []byte) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, status := fs.withAttributes(in.NodeId)
	if status != fuse.OK {
		return status
	}
	if n.attrs == nil {
		n.attrs = map[string][]byte{}
	}
	n.attrs[name] = slices.Clone(data)
	n.touch(false)
	return fuse.OK
}

func (fs *fileSystem) RemoveXAttr(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, status := fs.withAttributes(header.NodeId)
	if status != fuse.OK {
		return status
	}
	if _, ok := n.attrs[name]; !ok {
		return fuse.ENOATTR
	}
	delete(n.attrs, name)
	n.touch(false)
	return fuse.OK
}

func (fs *fileSystem) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	const many = 1 << 20
	*out = fuse.StatfsOut{Blocks: many, Bfree: many, Bavail: many, Files: many, Ffree: many, Bsize: 4096, Frsize: 4096,
		NameLen: longest}
	return fuse.OK
}
