package index

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"

	"github.com/google/uuid"
)

// A sealed file is a small file that ends with the CRC-32C of all bytes before. So a file that is torn, cut off or
// damaged can be told from a whole one.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends the checksum.
func seal(data []byte) []byte {
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

// unseal returns the data without its checksum, if the checksum is right.
func unseal(data []byte) ([]byte, bool) {
	n := len(data) - crc32.Size
	if n < 0 || crc32.Checksum(data[:n], castagnoli) != binary.LittleEndian.Uint32(data[n:]) {
		return nil, false
	}
	return data[:n], true
}

// maxSealed bounds the size of sealed files in bytes, because they are read as a whole.
const maxSealed = 64 << 10

var errUnsealed = errors.New("its checksum is wrong")

// readSealed returns the data of a sealed file.
func readSealed(dir *os.Root, name string) ([]byte, error) {
	if err := checkFile(dir, name); err != nil {
		return nil, err
	}
	f, err := dir.OpenFile(name, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSealed))
	if err != nil {
		return nil, err
	}
	data, ok := unseal(data)
	if !ok {
		return nil, errUnsealed
	}
	return data, nil
}

// writeSealed replaces a sealed file by a rename. The new file is on the disk when writeSealed returns.
func writeSealed(dir *os.Root, name string, data []byte) error {
	staged := name + "." + uuid.NewString()
	f, err := create(dir, staged)
	if err != nil {
		return err
	}
	_, err = f.Write(seal(data))
	err = cmp.Or(err, f.Sync())
	err = cmp.Or(err, f.Close())
	if err == nil {
		err = dir.Rename(staged, name)
	}
	if err != nil {
		return errors.Join(err, dir.Remove(staged))
	}
	return syncNames(dir)
}

// syncNames writes the names in a directory to the disk.
func syncNames(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
