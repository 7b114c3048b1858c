package etagfs

import (
	"context"
	"crypto"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"io"

	"ifmatch/fs"
	"ifmatch/tree"
)

// keepSums remembers, with the tag of a version, the other hashes that were computed with it.
func (s *Store) keepSums(info fs.Info, sums tree.Sums) {
	k, ok := s.index.known(info.Fingerprint)
	if !ok || k.tag() != sums.Tag() {
		return // there is nothing to keep it with
	}
	had := k.flags
	if sum, ok := sums[crypto.SHA1]; ok {
		k.sha1, k.flags = [sha1.Size]byte(sum), k.flags|knowsSHA1
	}
	if sum, ok := sums[crypto.MD5]; ok {
		k.md5, k.flags = [md5.Size]byte(sum), k.flags|knowsMD5
	}
	if k.flags != had {
		s.index.put(info.Fingerprint, k)
	}
}

// knownSums returns what is remembered of a version with this tag.
func (s *Store) knownSums(info fs.Info, tag tree.ETag) tree.Sums {
	sum, ok := tree.SumOf(tag)
	if !ok {
		return nil
	}
	sums := tree.Sums{crypto.SHA256: sum}
	if k, ok := s.index.known(info.Fingerprint); ok && k.tag() == tag {
		if k.flags&knowsSHA1 != 0 {
			sums[crypto.SHA1] = k.sha1[:]
		}
		if k.flags&knowsMD5 != 0 {
			sums[crypto.MD5] = k.md5[:]
		}
	}
	return sums
}

// sumsOf returns all hashes of a file whose tag is known, of a version that was looked at. What is missing is computed
// by reading the file once, and remembered. Whatever has happened to the file meanwhile: the SHA-256, computed beside
// them, says whether they are of that version; if they are not, those that are known have to do.
func (s *Store) sumsOf(ctx context.Context, name string, info fs.Info, tag tree.ETag) (tree.Sums, error) {
	sums := s.knownSums(info, tag)
	if sums == nil || sums[crypto.SHA1] != nil && sums[crypto.MD5] != nil {
		return sums, nil
	}
	f, now, err := s.open(name)
	if err != nil || f == nil {
		return sums, err
	}
	defer f.Close()
	hashes := map[crypto.Hash]hash.Hash{crypto.SHA256: sha256.New(), crypto.SHA1: sha1.New(), crypto.MD5: md5.New()}
	_, err = copyBody(ctx, io.MultiWriter(hashes[crypto.SHA256], hashes[crypto.SHA1], hashes[crypto.MD5]),
		io.NewSectionReader(readerAt{s.fs, f}, 0, now.Size))
	if err != nil {
		return sums, ourFault(err)
	}
	found := tree.Sums{}
	for name, h := range hashes {
		found[name] = h.Sum(nil)
	}
	if found.Tag() != tag {
		return sums, nil
	}
	s.keepSums(info, found)
	return found, nil
}
