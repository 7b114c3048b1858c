package fs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A remote is a file system elsewhere, with a file f. Its kernel side is told to remember for an hour what it has seen
// (FUSE).
type remote struct {
	size  atomic.Int64  // of f, which another machine changes
	asked atomic.Uint64 // how often somebody looked at it
}

// The requests of FUSE that are answered, by their numbers in linux/fuse.h.
const (
	fuseLookup     = 1
	fuseForget     = 2
	fuseGetattr    = 3
	fuseInit       = 26
	fuseOpendir    = 27
	fuseReaddir    = 28
	fuseReleasedir = 29
	fuseForgets    = 42
)

const (
	remoteRoot = 1 // as FUSE has it
	remoteFile = 2
	anHour     = 3600
)

// mountRemote mounts one on a new directory.
func mountRemote(t *testing.T) (*remote, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: root can mount a file system, and others cannot")
	}
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skip("NOT RUN: there is no FUSE: ", err)
	}
	dir := filepath.Join(t.TempDir(), "remote")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := &remote{}
	ended := make(chan struct{})
	// The descriptor, and not the file, whose Fd would make it wait in the kernel: it must, with a thread of its own.
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", device.Fd())
	if err := unix.Mount("remote", dir, "fuse", unix.MS_NODEV|unix.MS_NOSUID, options); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(ended)
		r.serve(int(device.Fd()))
	}()
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		<-ended
		device.Close()
	})
	return r, dir
}

// serve answers requests until the file system is unmounted.
func (r *remote) serve(device int) {
	request := make([]byte, 1<<20)
	for {
		n, err := unix.Read(device, request)
		if err == unix.EINTR || err == unix.ENOENT {
			continue
		}
		if err != nil {
			return
		}
		var header struct {
			Length, Op   uint32
			Unique, Node uint64
			Rest         [16]byte
		}
		body := bytes.NewReader(request[:n])
		if binary.Read(body, binary.LittleEndian, &header) != nil {
			return
		}
		rest, _ := io.ReadAll(body)
		if header.Op == fuseForget || header.Op == fuseForgets {
			continue
		}
		content, failed := r.answer(header.Op, header.Node, rest)
		var answer bytes.Buffer
		_ = binary.Write(&answer, binary.LittleEndian, struct {
			Length uint32
			Error  int32
			Unique uint64
		}{uint32(16 + len(content)), -int32(failed), header.Unique})
		answer.Write(content)
		if _, err := unix.Write(device, answer.Bytes()); err != nil && err != unix.ENOENT {
			return
		}
	}
}

func (r *remote) answer(op uint32, node uint64, body []byte) ([]byte, unix.Errno) {
	var b bytes.Buffer
	write := func(values ...any) {
		for _, v := range values {
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
	}
	switch op {
	case fuseInit:
		write([4]uint32{7, 31, 0, 0}, [2]uint16{}, [3]uint32{4096, 1, 0}, [8]uint32{})
	case fuseLookup:
		if name, _, _ := bytes.Cut(body, []byte{0}); node != remoteRoot || string(name) != "f" {
			return nil, unix.ENOENT
		}
		write([4]uint64{remoteFile, 0, anHour, anHour}, [2]uint32{}, r.attributes(remoteFile))
	case fuseGetattr:
		write(uint64(anHour), [2]uint32{}, r.attributes(node))
	case fuseOpendir:
		write([2]uint64{})
	case fuseReaddir:
		if offset := binary.LittleEndian.Uint64(body[8:]); offset == 0 {
			write([2]uint64{remoteFile, 1}, [2]uint32{1, unix.DT_REG}, [8]byte{'f'})
		}
	case fuseReleasedir:
	default:
		return nil, unix.ENOSYS
	}
	return b.Bytes(), 0
}

type remoteAttributes struct {
	Inode, Size, Blocks, Accessed, Modified, Changed uint64
	Nanoseconds                                      [3]uint32
	Mode, Links, User, Group, Device, Block, Flags   uint32
}

func (r *remote) attributes(node uint64) remoteAttributes {
	if node == remoteRoot {
		return remoteAttributes{Inode: node, Mode: unix.S_IFDIR | 0o755, Links: 2}
	}
	r.asked.Add(1)
	return remoteAttributes{Inode: node, Size: uint64(r.size.Load()), Mode: unix.S_IFREG | 0o644, Links: 1}
}

// What another machine has written to a network file system is seen at once, whatever ours has been told to remember.
func TestRemoteChangesAreSeen(t *testing.T) {
	r, dir := mountRemote(t)
	s, err := Open(dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	listed := func() (vfs.Info, error) {
		d, err := s.OpenDir("", volumes.DirOptions{})
		if err != nil {
			return vfs.Info{}, err
		}
		defer d.Close()
		members, err := d.Next(10)
		if len(members) != 1 || err != nil && !errors.Is(err, io.EOF) {
			return vfs.Info{}, fmt.Errorf("%v, %w", members, err)
		}
		return members[0].Info, members[0].Err
	}
	for _, look := range []struct {
		how string
		do  func() (vfs.Info, error)
	}{
		{"Stat", func() (vfs.Info, error) { return s.Stat("f") }},
		{"Lstat", func() (vfs.Info, error) { return s.Lstat("f") }},
		{"a listing", listed},
	} {
		for range 3 {
			size := r.size.Add(1)
			soon(t, look.how, func() {
				if info, err := look.do(); err != nil || info.Size != size {
					t.Errorf("%s: it has %d bytes, and it says %d, error %v", look.how, size, info.Size, err)
				}
			})
		}
	}
	if r.asked.Load() == 0 {
		t.Error("nobody asked")
	}
}
