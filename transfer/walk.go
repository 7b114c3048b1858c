package transfer

import (
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An entry is a member of the directory.
type entry struct {
	name string
	info iofs.FileInfo
	made bool // the collection that it is in was made by this pass, so that the store has nothing at the name
}

// pass walks the directory, with some files at once, and calls do for each. A collection comes before its members, and
// do says whether these are wanted.
func (im *Import) pass(ctx context.Context, do func(context.Context, entry) (enter, made bool, err error)) error {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(max(im.Jobs, 1))
	info, err := im.root.Stat(".")
	if err == nil {
		err = im.walk(within, group, entry{"", info, false}, do)
	}
	if failed := group.Wait(); failed != nil {
		return failed // it has ended the walk
	}
	return err
}

// readAtOnce is how many names of a directory are in memory.
const readAtOnce = 1000

func (im *Import) walk(
	ctx context.Context, group *errgroup.Group, e entry, do func(context.Context, entry) (enter, made bool, err error),
) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !e.info.IsDir() {
		group.Go(func() error {
			_, _, err := do(ctx, e)
			return err
		})
		return nil
	}
	enter, made, err := do(ctx, e)
	if err != nil || !enter {
		return err
	}
	dir, err := im.root.Open(local(e.name))
	if err != nil {
		im.leave(e.name, "its members cannot be read: "+err.Error())
		return nil
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(readAtOnce)
		slices.Sort(names)
		for _, base := range names {
			name := tree.Join(e.name, base)
			info, err := im.root.Lstat(local(name))
			switch {
			case errors.Is(err, iofs.ErrNotExist):
				continue // it was removed meanwhile
			case err != nil:
				im.leave(name, err.Error())
				continue
			}
			if err := im.walk(ctx, group, entry{name, info, made}, do); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			im.leave(e.name, "its members cannot be read: "+err.Error())
			return nil
		}
	}
}

// local returns a name as package os takes it.
func local(name string) string {
	if name == "" {
		return "."
	}
	return name
}

// open opens a member that is still the one that the walk has seen.
func (im *Import) open(e entry) (*os.File, error) {
	f, err := im.root.OpenFile(local(e.name), os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !os.SameFile(info, e.info) {
		err = &iofs.PathError{Op: "open", Path: e.name, Err: errors.New("it was replaced while it was read")}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
