package vfs

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// kindsIn returns some of what is in a directory, with nothing but name and kind, which is Nothing where the file system
// does not say; io.EOF at the end. See getdents64(2).
func kindsIn(dir *os.File) ([]Info, error) {
	buffer := make([]byte, 32<<10)
	n, err := unix.ReadDirent(int(dir.Fd()), buffer)
	for err == unix.EINTR {
		n, err = unix.ReadDirent(int(dir.Fd()), buffer)
	}
	if err != nil {
		return nil, pathError("getdents", dir.Name(), err)
	}
	if n <= 0 {
		return nil, io.EOF
	}
	const lengthAt, kindAt, nameAt = 16, 18, 19
	var found []Info
	for rest := buffer[:n]; len(rest) > nameAt; {
		length := int(binary.NativeEndian.Uint16(rest[lengthAt:]))
		name, _, _ := bytes.Cut(rest[nameAt:length], []byte{0})
		info := Info{Name: string(name)}
		switch rest[kindAt] {
		case unix.DT_UNKNOWN:
		case unix.DT_REG:
			info.Kind = Regular
		case unix.DT_DIR:
			info.Kind = Directory
		case unix.DT_LNK:
			info.Kind = Link
		default:
			info.Kind = Special
		}
		if info.Name != "." && info.Name != ".." {
			found = append(found, info)
		}
		rest = rest[length:]
	}
	return found, nil
}
