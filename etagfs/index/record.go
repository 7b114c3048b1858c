package index

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"math"
	"sync/atomic"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Record has the hashes of one version of a file, and the evidence about its dates.
type Record struct {
	SHA256 [32]byte
	SHA1   [20]byte // with HasSHA1
	MD5    [16]byte // with HasMD5
	Has    Flags
	Dates  Evidence
}

// Flags tell which parts of a Record are known.
type Flags uint32

const (
	// Synced: the content was on the disk before the record was made.
	Synced Flags = 1 << iota
	HasSHA1
	HasMD5
)

// RecordOf returns a record of the content that has a tag.
func RecordOf(tag tree.ETag) (r Record) {
	sum, _ := tree.SumOf(tag)
	copy(r.SHA256[:], sum)
	return r
}

// Tag returns the tag of the content.
func (r *Record) Tag() tree.ETag { return tree.TagOf(r.SHA256) }

// Evidence is the part of a record about dates: the latest date with which another version of a name can have been
// shown, when the version was committed under that name. The zero value proves nothing.
type Evidence struct {
	name    uint64 // the nameID of the name
	earlier int64  // in seconds since 1970. never: there was no other version. forever: no date proves this version
}

const (
	never   = math.MinInt64 // before all dates
	forever = 1 << 40       // after all dates
)

// nameID returns the number by which a record names a name: 64 bits of its SHA-256, and never 0.
func nameID(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return max(1, binary.LittleEndian.Uint64(sum[:]))
}

// An entry is a record as it is in its page.
type entry struct {
	Record
	of          vfs.Fingerprint
	run, number uint32 // the epoch in which it was recorded
}

// recordSize divides the size of a page of memory, so that no record lies across two pages.
const recordSize = 128

// On disk, a record has 128 bytes. Numbers are little-endian:
//
//	  0  CRC-32C of the id of the index (8 bytes), the number of the inode (8), and the rest of the record
//	  4  run, and 8 number of the epoch
//	 12  size, 20 time of birth, 28 of modification, 36 of change
//	 44  SHA-256, 76 SHA-1, 96 MD5
//	112  flags
//	116  Evidence: the name, and 124 the date in seconds since 1970 (0: never, 2³²-1: forever)
//
// The record has no inode number: its place tells it. A place that was never written to has zeros only.
func (e *entry) encode(id uint64) []byte {
	b := make([]byte, 12, recordSize)
	binary.LittleEndian.PutUint32(b[4:], e.run)
	binary.LittleEndian.PutUint32(b[8:], e.number)
	for _, v := range []int64{e.of.Size, e.of.Born, e.of.Modified, e.of.Changed} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	b = append(append(append(b, e.SHA256[:]...), e.SHA1[:]...), e.MD5[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(e.Has))
	b = binary.LittleEndian.AppendUint64(b, e.Dates.name)
	b = binary.LittleEndian.AppendUint32(b, e.Dates.date())
	binary.LittleEndian.PutUint32(b, checksum(id, e.of.Inode, b))
	return b
}

// date returns the date of evidence in its form on disk. A date that does not fit is replaced by a later one.
func (e Evidence) date() uint32 {
	if e.name == 0 || e.earlier == never {
		return 0
	}
	return uint32(min(max(e.earlier, 1), math.MaxUint32))
}

func checksum(id, inode uint64, b []byte) uint32 {
	var about [16]byte
	binary.LittleEndian.PutUint64(about[:], id)
	binary.LittleEndian.PutUint64(about[8:], inode)
	return crc32.Update(crc32.Checksum(about[:], castagnoli), castagnoli, b[4:])
}

// decode returns the record of an inode in b. Another version of the file was seen, and its mount counts as that of the
// record. ok is false if there is no record, or if it is damaged.
func decode(b []byte, id uint64, seen vfs.Fingerprint) (e entry, ok bool) {
	if len(b) != recordSize || binary.LittleEndian.Uint32(b) != checksum(id, seen.Inode, b) {
		return entry{}, false
	}
	signed := func(at int) int64 { return int64(binary.LittleEndian.Uint64(b[at:])) }
	e.run, e.number = binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
	e.of = vfs.Fingerprint{
		Mount: seen.Mount, Device: seen.Device, Inode: seen.Inode,
		Size: signed(12), Born: signed(20), Modified: signed(28), Changed: signed(36),
	}
	copy(e.SHA256[:], b[44:])
	copy(e.SHA1[:], b[76:])
	copy(e.MD5[:], b[96:])
	e.Has = Flags(binary.LittleEndian.Uint32(b[112:]))
	e.Dates = Evidence{name: binary.LittleEndian.Uint64(b[116:]), earlier: int64(binary.LittleEndian.Uint32(b[124:]))}
	switch {
	case e.Dates.name == 0:
		e.Dates = Evidence{}
	case e.Dates.earlier == 0:
		e.Dates.earlier = never
	case e.Dates.earlier == math.MaxUint32:
		e.Dates.earlier = forever
	}
	return e, true
}

// Lookups are how often a record was looked for since the index was opened, by where it was found.
type Lookups struct {
	Memory  uint64 // in memory, without a system call
	Disk    uint64 // in the pages on the disk
	Missing uint64 // nowhere, so that the file has to be hashed
}

// lookups counts them.
type lookups struct{ memory, disk, missing atomic.Uint64 }

// Lookups returns how often a record was looked for.
func (x *Index) Lookups() Lookups {
	return Lookups{x.lookups.memory.Load(), x.lookups.disk.Load(), x.lookups.missing.Load()}
}
