package hashing

import (
	"context"
	"crypto"
	"crypto/md5"
	"crypto/sha1"
	"fmt"
	"io"

	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// KeepSums adds to the record of a version the other hashes that were computed together with its tag.
func (h *Hasher) KeepSums(info vfs.Info, sums tree.Sums) {
	if sums[crypto.SHA1] == nil && sums[crypto.MD5] == nil {
		return
	}
	h.Index.Extend(info.Fingerprint, func(k *index.Record) bool {
		if k.Tag() != sums.Tag() {
			return false
		}
		had := k.Has
		if sum, ok := sums[crypto.SHA1]; ok {
			k.SHA1, k.Has = [sha1.Size]byte(sum), k.Has|index.HasSHA1
		}
		if sum, ok := sums[crypto.MD5]; ok {
			k.MD5, k.Has = [md5.Size]byte(sum), k.Has|index.HasMD5
		}
		return k.Has != had
	})
}

// knownSums returns the hashes that the index has of the version with this tag, and reports whether they are all that
// can be found out.
func (h *Hasher) knownSums(info vfs.Info, tag tree.ETag) (sums tree.Sums, enough bool) {
	sum, ok := tree.SumOf(tag)
	if !ok {
		return nil, true
	}
	sums = tree.Sums{crypto.SHA256: sum}
	if k, ok := h.Index.Lookup(info.Fingerprint); ok && k.Tag() == tag {
		if k.Has&index.HasSHA1 != 0 {
			sums[crypto.SHA1] = k.SHA1[:]
		}
		if k.Has&index.HasMD5 != 0 {
			sums[crypto.MD5] = k.MD5[:]
		}
	}
	return sums, sums[crypto.SHA1] != nil && sums[crypto.MD5] != nil
}

// SumsOf returns all hashes of a version that was looked at and whose tag is known. If hashes are missing, SumsOf reads
// the file once for all callers that wait for them, and the index remembers them.
func (h *Hasher) SumsOf(ctx context.Context, name string, info vfs.Info, tag tree.ETag) (tree.Sums, error) {
	ctx, cancel := tree.HashContext(ctx)
	defer cancel()
	for {
		sums, enough := h.knownSums(info, tag)
		if enough {
			return sums, nil
		}
		found := h.summing.DoChan(fmt.Sprint(info.Fingerprint), func() (any, error) {
			return h.computeSums(ctx, name, info, tag)
		})
		select {
		case <-ctx.Done():
			h.Work.Go(func() { <-found }) // Close waits for the computation
			return sums, ctx.Err()
		case one := <-found:
			if isGivenUp(one.Err) && ctx.Err() == nil {
				continue // the caller that computed for all has given up, and this caller has not
			}
			return one.Val.(tree.Sums), one.Err
		}
	}
}

// computeSums reads a file and computes its hashes. The file may have changed meanwhile. The SHA-256, which is computed
// together with the others, shows whether the hashes belong to the version that was looked at. If they do not,
// computeSums returns only the hashes that were known before.
func (h *Hasher) computeSums(ctx context.Context, name string, info vfs.Info, tag tree.ETag) (tree.Sums, error) {
	sums, enough := h.knownSums(info, tag)
	if enough {
		return sums, nil // another call has just computed them
	}
	f, now, err := h.Open(ctx, name)
	if err != nil || f == nil {
		return sums, err
	}
	defer f.Close()
	end, err := h.Turn(ctx, now.Size, Patience)
	if err != nil {
		return sums, err
	}
	defer end()
	hashes := tree.NewHasher(crypto.SHA1, crypto.MD5)
	_, err = CopyBody(ctx, hashes, io.NewSectionReader(f, 0, now.Size))
	if err != nil {
		return sums, err
	}
	found := hashes.Sums()
	if found.Tag() != tag {
		return sums, nil
	}
	h.KeepSums(info, found)
	return found, nil
}
