package undo

import (
	"context"
	"errors"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// present is the present state for the plan.
type present struct{ Options }

func (d present) Lstat(name string) (fs.Info, error) {
	info, err := d.FS.Lstat(name)
	if errors.Is(failure.Of(err), tree.ErrNotExist) || errors.Is(err, fs.ErrLink) {
		return fs.Info{}, nil
	}
	return info, err
}

func (d present) Members(ctx context.Context, dir string) (all []fs.Info, err error) {
	for members, err := range d.Reader.Members(dir, fs.DirOptions{}).Batches(ctx) {
		if errors.Is(failure.Of(err), tree.ErrNotExist) || errors.Is(err, failure.ErrNotCollection) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		for _, m := range members {
			all = append(all, m.Info)
		}
	}
	return all, nil
}

func (d present) Tag(ctx context.Context, name string, info fs.Info) (tree.ETag, error) {
	if tag, known := d.Index.Tag(info.Fingerprint); known {
		return tag, nil
	}
	_, tag, err := d.Hasher.Hash(ctx, name, hashing.How{Rounds: 1})
	if errors.Is(failure.Of(err), tree.ErrNotExist) || errors.Is(failure.Of(err), tree.ErrBusy) {
		return "", nil // no change has made what is there
	}
	return tag, err
}

func (d present) Inside(dir fs.Kept) ([]fs.Kept, error) { return d.FS.Inside(dir) }

func (d present) TagKept(ctx context.Context, k fs.Kept) (tree.ETag, error) {
	return d.Store.TagKept(ctx, k)
}
