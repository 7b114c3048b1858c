package copier

import (
	"context"
	"path"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// stageWhole stages a copy of any resource that can be moved, also of a link.
func (c *Copy) stageWhole(
	ctx context.Context, from, to string, opts tree.CopyOptions,
) (*fs.Staged, fs.Info, tree.ETag, error) {
	info, err := c.FS.Lstat(from)
	if err != nil || info.Kind != fs.Link {
		return c.stage(ctx, from, to, opts)
	}
	target, err := c.FS.Readlink(from)
	if err != nil {
		return nil, fs.Info{}, "", err
	}
	staged, err := c.FS.StageLink(target, to)
	if err != nil {
		return nil, fs.Info{}, "", failure.OfStaging(err)
	}
	return staged, info, "", nil
}

// IsAll fails with [ErrStale] unless the members of a collection are those that were copied, in the same versions.
func (c *Copy) IsAll(source fs.Kept) error {
	found, err := c.compare(source, ".")
	if err == nil && found != len(c.copied) {
		err = ErrStale // a member was removed since
	}
	return err
}

// compare compares the members of a collection with those that were copied, and returns how many members it has found.
func (c *Copy) compare(dir fs.Kept, place string) (found int, err error) {
	if dir.Kind != fs.Directory {
		return 0, nil
	}
	members, err := c.FS.Inside(dir)
	if err != nil {
		return 0, err
	}
	for _, m := range members {
		at := path.Join(place, m.Name)
		if m.Kind == fs.Special {
			continue // it is not served, and stays in the history
		}
		if c.copied[at] != m.Fingerprint {
			return 0, ErrStale
		}
		more, err := c.compare(m, at)
		if err != nil {
			return 0, err
		}
		found += 1 + more
	}
	return found, nil
}
