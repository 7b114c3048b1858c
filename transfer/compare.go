package transfer

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// compare reads a file once more, and compares its tag with that of the store.
func (im *Import) compare(ctx context.Context, e entry) (enter, made bool, err error) {
	if im.isState(e) || !e.info.IsDir() && !e.info.Mode().IsRegular() || tree.CheckName(e.name) != nil {
		return false, false, nil // the import has told of it
	}
	now, err := im.stat(ctx, e.name)
	switch {
	case errors.Is(err, tree.ErrNotExist) && im.wasLeft(e.name):
		return false, false, nil // the import has told of it
	case errors.Is(err, tree.ErrNotExist):
		im.tell(&im.done.Different, e.name, "is not in the tree")
		return false, false, nil
	case isAbout(err):
		return false, false, nil
	case err != nil:
		return false, false, fmt.Errorf("%q: %w", e.name, err)
	case now.Collection != e.info.IsDir():
		im.tell(&im.done.Different, e.name, "is another kind of thing in the tree")
		return false, false, nil
	case now.Collection:
		return true, false, im.compareMembers(ctx, e.name)
	}
	tag, err := im.tag(e)
	switch {
	case err != nil:
		im.tell(&im.done.Different, e.name, "cannot be compared: "+err.Error())
	case tag != now.Tag:
		im.tell(&im.done.Different, e.name, fmt.Sprintf("has the tag %s in the directory, and %s in the tree", tag, now.Tag))
	default:
		im.done.Compared.Add(1)
	}
	return false, false, nil
}

// compareMembers looks for members in the store that the directory does not have.
func (im *Import) compareMembers(ctx context.Context, dir string) error {
	if !im.Alone {
		return nil
	}
	for s, err := range im.To.List(ctx, dir, tree.ListOptions{Depth: 1}, tree.Condition{}) {
		if err != nil {
			return fmt.Errorf("%q: %w", dir, err)
		}
		if s.Name == dir {
			continue
		}
		if _, err := im.root.Lstat(local(s.Name)); errors.Is(err, iofs.ErrNotExist) {
			im.tell(&im.done.Different, s.Name, "is in the tree, and not in the directory")
		}
	}
	return nil
}
