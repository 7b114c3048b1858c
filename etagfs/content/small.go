package content

import (
	"bytes"
	"crypto/sha256"
	"io"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// maxBody bounds the contents that are kept in memory, in bytes.
const maxBody = 16 << 10

// mayKeep reports whether a look always shows that the content of a file has changed since it was read under a lease.
// It does not where a program can write through a memory map unseen (tmpfs, overlayfs), and where there are no leases.
func (s *Server) mayKeep(info vfs.Info) bool {
	if info.Size > maxBody || info.Kind != vfs.Regular || info.Device != s.Root.Device || info.Mount != s.Root.Mount {
		return false
	}
	return showAll(s.FS.AbilitiesOf(info))
}

// showAll reports whether a file system shows each change of a content in the look at the file.
func showAll(able volumes.Abilities) bool {
	return able.Leases && able.FineTimes && able.Mappings && !able.Exclusive
}

// InMemory returns the content in memory of the version that a look has found, if the content has that tag.
func (s *Server) InMemory(look vfs.Info, tag tree.ETag) (tree.Bytes, bool) {
	if look.Size > maxBody {
		return nil, false
	}
	data, of, ok := s.Index.Body(look.Fingerprint)
	return data, ok && of == tag
}

// keep reads a small file that was opened, and keeps the content in memory. It reads under a lease, which is
// unbroken from before the look at the open file until after the read. ok is false if no content is kept.
func (s *Server) keep(f *vfs.File, info vfs.Info, tag tree.ETag) (content tree.Bytes, ok bool) {
	if !s.mayKeep(info) || !s.Index.Plain(info.Fingerprint) || !s.Index.WantsBody(info.Fingerprint) {
		return nil, false
	}
	if f.Lease() != nil {
		return nil, false
	}
	defer f.Unlease()
	now, err := s.Hasher.Refresh(f, info)
	if err != nil || now.Fingerprint != info.Fingerprint {
		return nil, false
	}
	data := make([]byte, info.Size)
	if n, err := f.ReadAt(data, 0); err != nil && err != io.EOF || n < len(data) {
		return nil, false
	}
	if !f.Leased() || tree.TagOf(sha256.Sum256(data)) != tag {
		return nil, false
	}
	s.Index.KeepBody(info.Fingerprint, tag, data)
	return data, true
}

// KeepWhileReading returns the body of a staged file that also keeps in memory what is read of it, if the body is
// announced to be small, and may be kept. kept returns that after the body was read.
func (s *Server) KeepWhileReading(
	staged *fs.Staged, body io.Reader, length int64,
) (reading io.Reader, kept func() []byte) {
	if length < 0 || length > maxBody || !s.Index.KeepsBodies() || !showAll(staged.Abilities()) {
		return body, func() []byte { return nil }
	}
	k := bytes.NewBuffer(make([]byte, 0, length))
	return io.TeeReader(body, k), k.Bytes
}

// KeepOwn keeps in memory the content of a file that this process has written. The caller has had a lease on the
// file since before the file had a name, has looked at it under that name, and has found the lease unbroken after that.
func (s *Server) KeepOwn(info vfs.Info, tag tree.ETag, body []byte) {
	if body != nil && int64(len(body)) == info.Size && s.mayKeep(info) {
		s.Index.KeepBody(info.Fingerprint, tag, body)
	}
}
