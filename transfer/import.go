// Package transfer copies a directory into a store, and mirrors a store in a directory.
//
// # Import
//
// An import is a sequence of writes of which each leaves the tree whole, and each is skipped where it has happened. So
// one that was cut off goes on when it is begun again, and needs no note of how far it has come. It never replaces
// other content unless it is told to, and the replaced versions are in the history.
//
// # Mirror
//
// For each change of the feed, a mirror takes over the present state of its names. It does not repeat the change. So it
// may take a change twice, and in an order in which changes of different names did not happen.
//
// Memory is bounded by the depth of the tree, not by its size, but for some names that an import has left.
package transfer

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/internal/etags"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An Import copies a directory into a store.
type Import struct {
	Dir   string
	State string // the name of the state of a server in Dir, which is left out
	To    tree.Store
	// Properties returns the dead properties of a name in Dir (nil: there are none).
	Properties func(ctx context.Context, name string) ([]webdav.Property, error)
	Replace    bool // replace other contents at the same names
	Alone      bool // the tree is to have nothing that Dir has not
	Jobs       int  // how many files are read at once
	// Tell is called with a sentence about a name for each thing that is not taken over, or is not the same at the end.
	// Calls do not overlap.
	Tell func(name, what string)

	root *os.Root
	mu   sync.Mutex // of Tell, and of left
	left map[string]bool
	done Imported
}

// Imported are the counts of an import.
type Imported struct {
	Files, Collections atomic.Int64 // that were made
	Bytes              atomic.Int64 // of these files
	Known              atomic.Int64 // files that were there already
	Compared           atomic.Int64 // files with the same tag in the end
	Left               atomic.Int64 // names that were not taken
	Lost               atomic.Int64 // names that were taken, and of which something is lost: an ACL, for instance
	Different          atomic.Int64 // names that are not the same at the end
}

// Run imports, and compares all tags then. Its error is one that has ended the import, which goes on when it is run
// again.
func (im *Import) Run(ctx context.Context) (*Imported, error) {
	root, err := os.OpenRoot(im.Dir)
	if err != nil {
		return &im.done, err
	}
	defer root.Close()
	im.root = root
	if err := im.pass(ctx, im.take); err != nil {
		return &im.done, err
	}
	return &im.done, im.pass(ctx, im.compare)
}

// tell reports something about a name, and counts it.
func (im *Import) tell(count *atomic.Int64, name, what string) {
	count.Add(1)
	im.mu.Lock()
	defer im.mu.Unlock()
	im.Tell(name, what)
}

// mostLeft is how many of the names that were left are remembered, so that the comparison does not tell of them again.
const mostLeft = 10_000

// leave reports a name that is not taken, once.
func (im *Import) leave(name, why string) {
	if im.wasLeft(name) {
		return
	}
	im.tell(&im.done.Left, name, why)
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.left == nil {
		im.left = map[string]bool{}
	}
	if len(im.left) < mostLeft {
		im.left[name] = true
	}
}

// wasLeft reports whether a name is known to have been left.
func (im *Import) wasLeft(name string) bool {
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.left[name]
}

// take gives a name in the store the content that it has in the directory.
func (im *Import) take(ctx context.Context, e entry) (enter, made bool, err error) {
	switch mode := e.info.Mode(); {
	case im.isState(e):
		return false, false, nil
	case mode&iofs.ModeSymlink != 0:
		im.leave(e.name, "is a symbolic link")
	case mode.IsDir():
		enter, made, err = im.takeDir(ctx, e)
	case !mode.IsRegular():
		im.leave(e.name, "is neither a file nor a directory")
	default:
		err = im.takeFile(ctx, e)
	}
	if isAbout(err) {
		im.leave(e.name, err.Error())
		return false, false, nil
	}
	if err != nil {
		err = fmt.Errorf("%q: %w", e.name, err)
	}
	return enter, made, err
}

// isState reports whether a member is the state of a server. A disk that is mounted below has one of its own.
func (im *Import) isState(e entry) bool {
	_, base := tree.Split(e.name)
	return base == im.State && im.State != "" && e.info.IsDir()
}

// isAbout reports whether an error is about one name alone, so that others can be imported. The store says of itself what
// ails all of it, also where an error of its own disk is below that.
func isAbout(err error) bool {
	for _, kind := range []error{tree.ErrNoSpace, tree.ErrBusy, tree.ErrUnavailable, tree.ErrFailed} {
		if errors.Is(err, kind) {
			return false
		}
	}
	for _, kind := range []error{
		tree.ErrBadName, tree.ErrNameTooLong, tree.ErrReserved, tree.ErrTooLarge, tree.ErrPermission, tree.ErrNoParent,
		tree.ErrIsCollection, tree.ErrExist, tree.ErrNotExist, errOther,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return errors.As(err, new(*tree.BadNameError)) || errors.As(err, new(*tree.BodyError)) ||
		errors.As(err, new(*tree.LockedError)) || errors.As(err, new(*iofs.PathError))
}

// errOther says that the store has something else at the name.
var errOther = errors.New("the tree has other content at this name, which stays (see --replace)")

func (im *Import) takeDir(ctx context.Context, e entry) (enter, made bool, err error) {
	properties, err := im.describe(ctx, e)
	if err != nil {
		return false, false, err
	}
	if e.name != "" {
		err = patiently(ctx, func() error {
			_, err := im.To.Mkdir(ctx, e.name, tree.MkdirOptions{Modified: e.info.ModTime()}, tree.Condition{})
			return err
		})
		if made = err == nil; made {
			im.done.Collections.Add(1)
		}
	}
	if err != nil && !errors.Is(err, tree.ErrExist) {
		return false, false, err
	}
	now, err := im.stat(ctx, e.name)
	switch {
	case err != nil:
		return false, false, err
	case !now.Collection:
		return false, false, errOther
	case len(properties) > 0 && !tree.SameProperties(properties, now.Properties):
		err = im.patch(ctx, e.name, tree.Patch{Properties: []webdav.Proppatch{{Props: properties}}})
	}
	return err == nil, made, err
}

func (im *Import) stat(ctx context.Context, name string) (now tree.State, err error) {
	err = patiently(ctx, func() (err error) {
		now, err = im.To.Stat(ctx, name, tree.ReadOptions{Want: tree.WantTag | tree.WantProperties})
		return err
	})
	return now, err
}

func (im *Import) patch(ctx context.Context, name string, patch tree.Patch) error {
	return patiently(ctx, func() error { return im.To.PatchProperties(ctx, name, patch, tree.Condition{}) })
}

// describe returns the dead properties of a member, and tells of its other attributes, which a store does not keep.
func (im *Import) describe(ctx context.Context, e entry) ([]webdav.Property, error) {
	f, err := im.open(e)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	has, lost := attributesOf(f, e.info)
	if lost != "" {
		im.tell(&im.done.Lost, e.name, lost)
	}
	if !has || im.Properties == nil {
		return nil, nil
	}
	properties, err := im.Properties(ctx, e.name)
	if err != nil && ctx.Err() == nil { // damaged ones are no reason to lose the content, or the files after it
		im.tell(&im.done.Lost, e.name, "is taken without its properties: "+err.Error())
		return nil, nil
	}
	return properties, err
}

func (im *Import) takeFile(ctx context.Context, e entry) error {
	properties, err := im.describe(ctx, e)
	if err != nil {
		return err
	}
	now := tree.State{}
	if !e.made {
		if now, err = im.stat(ctx, e.name); err != nil && !errors.Is(err, tree.ErrNotExist) {
			return err
		}
	}
	if now.Exists {
		same, err := im.known(ctx, e, now)
		if same || err != nil {
			return err
		}
	}
	state, err := im.put(ctx, e, now.Tag, properties)
	if err != nil {
		return err
	}
	im.done.Files.Add(1)
	im.done.Bytes.Add(state.Size)
	return im.mend(ctx, e, state)
}

// known reports whether the store has the content of a file already.
func (im *Import) known(ctx context.Context, e entry, now tree.State) (bool, error) {
	if now.Collection {
		return false, errOther
	}
	tag, err := im.tag(e)
	switch {
	case err != nil:
		return false, err
	case tag == now.Tag:
		im.done.Known.Add(1)
		return true, im.mend(ctx, e, now)
	case !im.Replace:
		return false, errOther
	}
	return false, nil
}

// mend gives a file in the store the date and the executable bit of the one in the directory.
func (im *Import) mend(ctx context.Context, e entry, now tree.State) error {
	executable, patch := e.info.Mode()&0o111 != 0, tree.Patch{}
	if now.Executable != executable {
		patch.Executable = &executable
	}
	if now.Modified.Unix() != e.info.ModTime().Unix() {
		patch.Modified = e.info.ModTime()
	}
	if patch.Executable == nil && patch.Modified.IsZero() {
		return nil
	}
	err := im.patch(ctx, e.name, patch)
	if errors.Is(err, tree.ErrTime) {
		im.tell(&im.done.Lost, e.name, "its modification time is lost")
		return nil
	}
	return err
}

// put writes a file over the version with a tag, or where nothing is.
func (im *Import) put(ctx context.Context, e entry, over tree.ETag, properties []webdav.Property) (tree.State, error) {
	opts := tree.PutOptions{Modified: e.info.ModTime(), Length: e.info.Size()}
	if len(properties) > 0 {
		opts.Describe = func(tree.ETag) []webdav.Proppatch { return []webdav.Proppatch{{Props: properties}} }
	}
	var state tree.State
	tried := 0
	err := patiently(ctx, func() error {
		tried++
		f, err := im.open(e)
		if err != nil {
			return err
		}
		defer f.Close()
		state, _, err = im.To.Put(ctx, e.name, f, opts, unchanged(e.name, over))
		return err
	})
	if tried > 1 && errors.Is(err, errOther) { // an earlier try may have happened, and its answer was lost
		now, failed := im.stat(ctx, e.name)
		if tag, unread := im.tag(e); failed == nil && unread == nil && tag == now.Tag {
			return now, nil
		}
	}
	return state, err
}

// unchanged is true while a name has the version with a tag, or nothing if the tag is "".
func unchanged(name string, tag tree.ETag) tree.Condition {
	return tree.Condition{Exact: true, Check: func(v tree.View) error {
		now, err := v.State(name)
		switch {
		case err != nil:
			return err
		case now.Tag != tag || now.Exists != (tag != ""):
			return errOther
		}
		return tree.Unlocked(name).Check(v)
	}}
}

func (im *Import) tag(e entry) (tree.ETag, error) {
	f, err := im.open(e)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return etags.Of(f)
}

// PropertiesOf returns the [Import.Properties] of a store over the directory.
func PropertiesOf(source tree.Store) func(ctx context.Context, name string) ([]webdav.Property, error) {
	return func(ctx context.Context, name string) ([]webdav.Property, error) {
		s, err := source.Stat(ctx, name, tree.ReadOptions{Want: tree.WantProperties})
		return s.Properties, err
	}
}
