package web

import (
	"compress/flate"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// A zipWriter writes a zip archive (APPNOTE.TXT of PKWARE) that streams. An archive ends with a directory of all its
// members. [archive/zip] keeps that in memory as it is, some hundred bytes and the path for each member, so that one
// archive of a large tree could fill the memory of the machine. A zipWriter keeps the directory compressed, and bounds
// it.
type zipWriter struct {
	w         io.Writer
	offset    int64 // in the archive
	members   int64
	directory chunks        // compressed
	squeezed  *flate.Writer // to directory
	packed    *flate.Writer // the content of members
	size      int64         // of the directory as it will be sent
}

// maxDirectory bounds the bytes in which the directory of an archive is kept.
const maxDirectory = 4 << 20

var errLargeDirectory = errors.New("the names are too many for one archive")

func newZipWriter(w io.Writer) *zipWriter {
	z := &zipWriter{w: w}
	z.squeezed, _ = flate.NewWriter(&z.directory, flate.BestSpeed) // the level is valid
	z.packed, _ = flate.NewWriter(nil, flate.DefaultCompression)
	return z
}

func (z *zipWriter) Write(p []byte) (int, error) {
	n, err := z.w.Write(p)
	z.offset += int64(n)
	return n, err
}

const (
	zipVersion   = 20
	zipVersion64 = 45 // of members and archives beyond 4 GiB
	zipUnix      = 3 << 8

	zipSizesBehind = 1 << 3 // the sizes come behind the content
	zipUTF8        = 1 << 11

	zipStored   = 0
	zipDeflated = 8

	zipTimeExtra = 0x5455 // seconds since 1970
	zipSizeExtra = 1      // sizes of 64 bits
)

// A zipMember is a member of an archive.
type zipMember struct {
	name     string // it ends with a slash for a collection
	modified time.Time
	stored   bool // the content is not compressed
	sum      uint32
	packed   int64 // bytes in the archive
	size     int64
	offset   int64 // of its header
}

func (m *zipMember) flags() (flags uint16) {
	if !strings.HasSuffix(m.name, "/") {
		flags = zipSizesBehind
	}
	if utf8.ValidString(m.name) {
		flags |= zipUTF8
	}
	return flags
}

// appendCommon appends the fields that the header of a member and its entry in the directory have in common.
func (m *zipMember) appendCommon(b []byte, version uint16, extra int) []byte {
	le := binary.LittleEndian
	method := uint16(zipDeflated)
	if m.stored {
		method = zipStored
	}
	t := m.modified
	day := uint16(min(max(t.Year()-1980, 0), 127)<<9 | int(t.Month())<<5 | t.Day())
	second := uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2)
	b = le.AppendUint16(b, version)
	b = le.AppendUint16(b, m.flags())
	b = le.AppendUint16(b, method)
	b = le.AppendUint16(b, second)
	b = le.AppendUint16(b, day)
	b = le.AppendUint32(b, m.sum)
	b = le.AppendUint32(b, uint32(min(m.packed, math.MaxUint32)))
	b = le.AppendUint32(b, uint32(min(m.size, math.MaxUint32)))
	b = le.AppendUint16(b, uint16(len(m.name)))
	return le.AppendUint16(b, uint16(extra))
}

func (m *zipMember) appendTime(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, zipTimeExtra)
	b = append(b, 5, 0, 1)
	return binary.LittleEndian.AppendUint32(b, uint32(m.modified.Unix()))
}

const timeExtraSize = 9

// isLarge reports whether an entry needs numbers of 64 bits.
func (m *zipMember) isLarge() bool {
	return m.packed >= math.MaxUint32 || m.size >= math.MaxUint32 || m.offset >= math.MaxUint32
}

// add writes a member whose content is written by a function. A collection has none.
func (z *zipWriter) add(m *zipMember, content func(io.Writer) error) error {
	if len(m.name) > math.MaxUint16 {
		return errLargeDirectory
	}
	if m.modified.IsZero() {
		m.modified = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) // the first that an archive can tell
	}
	m.offset = z.offset
	header := m.appendCommon([]byte("PK\x03\x04"), zipVersion, timeExtraSize)
	if _, err := z.Write(m.appendTime(append(header, m.name...))); err != nil {
		return err
	}
	if content != nil {
		if err := z.addContent(m, content); err != nil {
			return err
		}
	}
	return z.note(m)
}

// addContent writes the content of a member, and its sizes behind it.
func (z *zipWriter) addContent(m *zipMember, content func(io.Writer) error) error {
	began := z.offset
	sum := &summed{w: z, hash: crc32.NewIEEE()}
	if !m.stored {
		z.packed.Reset(z)
		sum.w = z.packed
	}
	err := content(sum)
	if err == nil && !m.stored {
		err = z.packed.Close()
	}
	if err != nil {
		return err
	}
	m.sum, m.packed, m.size = sum.hash.Sum32(), z.offset-began, sum.size
	le := binary.LittleEndian
	behind := le.AppendUint32([]byte("PK\x07\x08"), m.sum)
	if m.packed >= math.MaxUint32 || m.size >= math.MaxUint32 {
		behind = le.AppendUint64(le.AppendUint64(behind, uint64(m.packed)), uint64(m.size))
	} else {
		behind = le.AppendUint32(le.AppendUint32(behind, uint32(m.packed)), uint32(m.size))
	}
	_, err = z.Write(behind)
	return err
}

// note keeps the entry of a member for the directory.
func (z *zipWriter) note(m *zipMember) error {
	le := binary.LittleEndian
	version, extra := uint16(zipVersion), timeExtraSize
	large := m.isLarge()
	if large {
		version, extra = zipVersion64, timeExtraSize+28
	}
	b := le.AppendUint16([]byte("PK\x01\x02"), zipUnix|version)
	told := *m
	if large { // then all three are in the extra field, as archive/zip has it
		told.packed, told.size, told.offset = math.MaxUint32, math.MaxUint32, math.MaxUint32
	}
	b = told.appendCommon(b, version, extra)
	mode := uint32(0o100644)
	attributes := uint32(0)
	if strings.HasSuffix(m.name, "/") {
		mode, attributes = 0o40755, 0x10 // a directory for MS-DOS, too
	}
	b = append(b, make([]byte, 6)...) // no comment, the first disk, a binary file
	b = le.AppendUint32(b, mode<<16|attributes)
	b = le.AppendUint32(b, uint32(told.offset))
	b = append(b, m.name...)
	if large {
		b = le.AppendUint16(le.AppendUint16(b, zipSizeExtra), 24)
		for _, n := range []int64{m.size, m.packed, m.offset} {
			b = le.AppendUint64(b, uint64(n))
		}
	}
	b = m.appendTime(b)
	z.members++
	z.size += int64(len(b))
	_, err := z.squeezed.Write(b)
	return err
}

// close writes the directory.
func (z *zipWriter) close() error {
	if err := z.squeezed.Close(); err != nil {
		return err
	}
	began := z.offset
	if _, err := io.Copy(z, flate.NewReader(&z.directory)); err != nil {
		return err
	}
	le := binary.LittleEndian
	var b []byte
	members, size, offset := z.members, z.size, began
	if members >= math.MaxUint16 || size >= math.MaxUint32 || offset >= math.MaxUint32 {
		ended := z.offset
		b = le.AppendUint64([]byte("PK\x06\x06"), 44) // bytes that follow
		b = le.AppendUint16(le.AppendUint16(b, zipVersion64), zipVersion64)
		b = append(b, make([]byte, 8)...) // the first disk
		for _, n := range []int64{members, members, size, offset} {
			b = le.AppendUint64(b, uint64(n))
		}
		b = append(b, "PK\x06\x07\x00\x00\x00\x00"...)
		b = le.AppendUint64(b, uint64(ended))
		b = le.AppendUint32(b, 1) // disk
		members, size, offset = math.MaxUint16, math.MaxUint32, math.MaxUint32
	}
	b = append(b, "PK\x05\x06\x00\x00\x00\x00"...)
	b = le.AppendUint16(le.AppendUint16(b, uint16(members)), uint16(members))
	b = le.AppendUint32(le.AppendUint32(b, uint32(size)), uint32(offset))
	_, err := z.Write(append(b, 0, 0)) // no comment
	return err
}

// summed counts and sums the bytes that it passes on.
type summed struct {
	w    io.Writer
	hash interface {
		io.Writer
		Sum32() uint32
	}
	size int64
}

func (s *summed) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.hash.Write(p[:n])
	s.size += int64(n)
	return n, err
}

// chunks are bytes in memory, up to maxDirectory. They are never copied to make room, and are let go while they are read.
type chunks struct {
	all  [][]byte
	size int
}

const chunkSize = 64 << 10

func (c *chunks) Write(p []byte) (int, error) {
	if c.size += len(p); c.size > maxDirectory {
		return 0, errLargeDirectory
	}
	for rest := p; len(rest) > 0; {
		last := len(c.all) - 1
		if last < 0 || len(c.all[last]) == chunkSize {
			c.all = append(c.all, make([]byte, 0, chunkSize))
			continue
		}
		n := min(len(rest), chunkSize-len(c.all[last]))
		c.all[last] = append(c.all[last], rest[:n]...)
		rest = rest[n:]
	}
	return len(p), nil
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.all) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.all[0])
	if c.all[0] = c.all[0][n:]; len(c.all[0]) == 0 {
		c.all = c.all[1:]
	}
	return n, nil
}
