package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ifmatch/etagfs"
	"ifmatch/fs"
	"ifmatch/tree"
)

// historyCommand looks into what a server has kept of a directory, and brings it back. It works on the directory itself,
// beside a server or without one.
func historyCommand(misused cli.OnUsageErrorFunc) *cli.Command {
	dir := &cli.PathFlag{Name: "dir", Usage: "the served directory `DIR`; PATH is below it (default: found upwards from PATH)"}
	etag := &cli.StringFlag{Name: "etag", Usage: "the version with this `TAG`"}
	at := &cli.StringFlag{Name: "at", Usage: "the version that was there at `TIME`: 2026-11-25T10:00:00Z, \"2026-11-25 10:00\", " +
		"or how long ago that was: 90m, 1d, yesterday"}
	sub := func(name, args, usage, description string, flags []cli.Flag, do func(c *cli.Context, p *past) error) *cli.Command {
		return &cli.Command{
			Name: name, ArgsUsage: args, Usage: usage, Description: description, Flags: flags, OnUsageError: misused,
			Action: func(c *cli.Context) error {
				p, err := pastOf(c)
				if err != nil {
					return err
				}
				return do(c, p)
			},
		}
	}
	return group(misused, "history", "look into what was replaced and removed, and bring it back",
		sub("list", "[PATH]", "list the versions of PATH and of all below it, the oldest first",
			"A line has the time when the version gave way, to what, its size, its tag, and its path.\n"+
				"It fails where PATH is not there and nothing of it is kept.", []cli.Flag{dir}, listPast),
		sub("show", "PATH", "print a version of a file, or what is in a collection that was removed",
			"Without --etag and --at it is the last one that is kept.", []cli.Flag{dir, etag, at}, showPast),
		sub("restore", "PATH", "make a version of PATH the current one again",
			"Without --etag and --at it is the last one that is kept. What it replaces goes to the history itself.\n"+
				"It is refused if PATH changes meanwhile, and while a client has a lock on it.", []cli.Flag{dir, etag, at}, restorePast),
	)
}

// A past is what a command of history is about.
type past struct {
	root, name string // the served directory, and the name below it
	etag       tree.ETag
	at         time.Time // zero: not said
}

func pastOf(c *cli.Context) (*past, error) {
	if c.NArg() > 1 {
		return nil, usagef("one PATH at a time, and %q is another one", c.Args().Get(1))
	}
	if c.NArg() == 0 && c.Command.Name != "list" {
		return nil, usagef("name what to %s: ifmatch history %s PATH", c.Command.Name, c.Command.Name)
	}
	p := &past{}
	var err error
	if p.root, p.name, err = locatePast(c.Path("dir"), c.Args().First()); err != nil {
		return nil, err
	}
	if err := actAsOwner(p.root, ""); err != nil {
		return nil, err
	}
	if tag := c.String("etag"); tag != "" {
		p.etag = tree.ETag(`"` + strings.Trim(tag, `"`) + `"`)
	}
	if at := c.String("at"); at != "" {
		if p.at, err = parseTime(at, time.Now()); err != nil {
			return nil, err
		}
	}
	if p.etag != "" && !p.at.IsZero() {
		return nil, usagef("--etag and --at each name a version: give one of them")
	}
	return p, nil
}

// locatePast finds the directory that a path is served in: it is the next one above with the state of a server. The path
// itself, and what is above it, may be gone.
func locatePast(dir, path string) (root, name string, err error) {
	if dir != "" {
		name = filepath.ToSlash(filepath.Clean(strings.TrimPrefix("/"+filepath.ToSlash(path), "/")))
		name = strings.Trim(name, "/")
		if name == "." {
			name = ""
		}
		root = dir
	} else {
		if path, err = filepath.Abs(path); err != nil {
			return "", "", err
		}
		for root = path; ; root = filepath.Dir(root) {
			if info, err := os.Stat(filepath.Join(root, stateName)); err == nil && info.IsDir() {
				root = fs.PartOf(root)
				break
			}
			if root == filepath.Dir(root) {
				return "", "", fmt.Errorf("no server has served %s: name the served directory with --dir", path)
			}
		}
		rest, err := filepath.Rel(root, path)
		if err != nil {
			return "", "", err
		}
		if name = filepath.ToSlash(rest); name == "." {
			name = ""
		}
	}
	if err := tree.CheckName(name); err != nil {
		return "", "", usagef("%s: %v", path, err)
	}
	if _, err := os.Stat(filepath.Join(root, stateName)); err != nil {
		return "", "", fmt.Errorf("%s is not served, and never was: it has no %s", root, stateName)
	}
	return root, name, nil
}

// parseTime reads a point in time as people write it, or how long ago it was.
func parseTime(s string, now time.Time) (time.Time, error) {
	if t, ok := parseAgo(s, now); ok {
		return t, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--at %q: write a time such as 2026-11-25T10:00:00Z or \"2026-11-25 10:00\", or how long ago, "+
		"such as 90m, 1d or yesterday", s)
}

// open opens the directory to look into it, and changes nothing in it.
func (p *past) open() (*fs.FS, error) {
	below, err := fs.Open(p.root, fs.Options{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", p.root, err)
	}
	return below, nil
}

// errNoVersion says that the history has not what is asked for.
var errNoVersion = errors.New("nothing of it is kept (see: ifmatch history list)")

// find returns the version that is meant.
func (p *past) find(below *fs.FS) (fs.Kept, error) {
	kept, err := below.History(p.name)
	if err != nil {
		return fs.Kept{}, err
	}
	kept = slices.DeleteFunc(kept, func(k fs.Kept) bool { return k.Path != p.name })
	if len(kept) == 0 {
		return fs.Kept{}, fmt.Errorf("%s: %w", p.show(p.name), errNoVersion)
	}
	now, err := below.Lstat(p.name)
	if err != nil {
		now = fs.Info{}
	}
	found := &kept[len(kept)-1]
	switch {
	case p.etag != "":
		found, err = p.versionWith(below, kept, now)
	case !p.at.IsZero():
		found, err = versionAt(kept, now, p.at)
	default:
		err = nil
	}
	if err != nil {
		return fs.Kept{}, fmt.Errorf("%s: %w", p.show(p.name), err)
	}
	return *found, nil
}

// versionWith returns the last version with the tag that is meant.
func (p *past) versionWith(below *fs.FS, kept []fs.Kept, now fs.Info) (*fs.Kept, error) {
	for i, k := range slices.Backward(kept) {
		tag, err := tagOfKept(below, k)
		if err != nil && !errors.Is(err, iofs.ErrNotExist) { // it has expired since
			return nil, err
		}
		if tag == p.etag {
			return &kept[i], nil
		}
	}
	if tag, err := tagOfKept(below, below.Unkept(p.name, now)); err == nil && tag == p.etag {
		return nil, errors.New("what is there now has that tag")
	}
	return nil, errors.New("no version that is kept of it has that tag (see: ifmatch history list)")
}

func (p *past) show(name string) string { return filepath.Join(p.root, filepath.FromSlash(name)) }

// tagOfKept returns the tag of a file in the history; "" for what has none.
func tagOfKept(below *fs.FS, k fs.Kept) (tree.ETag, error) {
	if k.Kind != fs.Regular || k.Tag != "" {
		return tree.ETag(k.Tag), nil
	}
	f, info, err := below.OpenKept(k)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(f, 0, info.Size)); err != nil {
		return "", err
	}
	return tree.TagOf([sha256.Size]byte(hash.Sum(nil))), nil
}

func listPast(c *cli.Context, p *past) error {
	below, err := p.open()
	if err != nil {
		return err
	}
	defer below.Close()
	all, err := below.History(p.name)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		if _, err := below.Lstat(p.name); err != nil {
			return fmt.Errorf("%s: %w", p.show(p.name), errNothingKept)
		}
		fmt.Fprintf(c.App.ErrWriter, "%s: nothing of it is kept: nobody has replaced it, or that had to give way, or was too long ago\n", p.show(p.name))
	}
	for _, k := range all {
		// Only of what was asked for: what is in all that was ever removed would be too much.
		if err := printKept(c.App.Writer, below, k, k.Path == p.name && p.name != ""); err != nil {
			return err
		}
	}
	return nil
}

var errNothingKept = errors.New("it is not there, and nothing of it is kept")

// printKept prints a line for a version; with inside also for all that is in a collection.
func printKept(w io.Writer, below *fs.FS, k fs.Kept, inside bool) error {
	tag, err := tagOfKept(below, k)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil // it has expired since
	}
	if err != nil {
		return err
	}
	path, size := printable(k.Path), fmt.Sprint(k.Size)
	switch {
	case k.Path == "":
		path = "(nobody knows)"
	case k.Kind == fs.Directory:
		path += "/"
	}
	if k.Kind != fs.Regular {
		size, tag = "-", "-"
	}
	note := ""
	if k.Late {
		note = "  (written to after that)"
	}
	fmt.Fprintf(w, "%s  %-9s  %10s  %-45s  %s%s\n", k.Gone.Format(time.RFC3339), k.Cause, size, tag, path, note)
	if !inside || k.Kind != fs.Directory {
		return nil
	}
	members, err := below.Inside(k)
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := printKept(w, below, m, true); err != nil {
			return err
		}
	}
	return nil
}

// printable quotes a name that would not stay on its line.
func printable(name string) string {
	if quoted := fmt.Sprintf("%q", name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

func showPast(c *cli.Context, p *past) error {
	below, err := p.open()
	if err != nil {
		return err
	}
	defer below.Close()
	k, err := p.find(below)
	if err != nil {
		return err
	}
	switch k.Kind {
	case fs.Directory:
		err := printKept(c.App.Writer, below, k, true)
		if missing, failed := p.notRestored(below); missing != "" {
			fmt.Fprintf(c.App.ErrWriter, "%s is shown as it was when it gave way: %s\n", p.show(p.name), missing)
		} else {
			err = errors.Join(err, failed)
		}
		return err
	case fs.Link:
		target, err := below.ReadlinkKept(k)
		if err == nil {
			_, err = fmt.Fprintln(c.App.Writer, target)
		}
		return err
	}
	f, info, err := below.OpenKept(k)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(c.App.Writer, io.NewSectionReader(f, 0, info.Size))
	return err
}

func restorePast(c *cli.Context, p *past) (err error) {
	below, err := fs.Open(p.root, fs.Options{History: true})
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", p.root, err)
	}
	store, err := etagfs.New(below, etagfs.Options{Report: func(err error) { fmt.Fprintf(c.App.ErrWriter, "ifmatch: %v\n", err) }})
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", p.root, err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	version, err := p.find(below)
	if err != nil {
		return errors.Join(err, p.collectionIsNot(below))
	}
	unchanged, err := asSeen(c.Context, store, p.name)
	if err != nil {
		return err
	}
	if now, err := below.Lstat(p.name); err == nil && now.Exists() {
		same, err := isAlready(below, version, now)
		if err == nil && same {
			err = fmt.Errorf("%s is already what it was when it gave way at %s, and nothing was restored",
				p.show(p.name), stamp(version.Gone))
			return errors.Join(err, p.collectionIsNot(below))
		}
		if err != nil {
			return err
		}
	}
	state, created, err := store.Restore(c.Context, version, unchanged)
	if err != nil {
		return p.refusal(err)
	}
	what := "is the current version again"
	if created {
		what = "is there again"
	}
	fmt.Fprintf(c.App.ErrWriter, "%s %s", p.show(p.name), what)
	if state.Tag != "" {
		fmt.Fprintf(c.App.ErrWriter, ", with the tag %s", state.Tag)
	}
	fmt.Fprintln(c.App.ErrWriter)
	return p.tellContents(c.App.ErrWriter, below, version)
}

// tellContents tells what is in a collection that was restored, and what is not.
func (p *past) tellContents(w io.Writer, below *fs.FS, version fs.Kept) error {
	if version.Kind != fs.Directory {
		return nil
	}
	in, err := contentsOf(below, version)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "  %s, as when it gave way at %s\n", in, stamp(version.Gone))
	missing, err := p.notRestored(below)
	if missing != "" {
		fmt.Fprintf(w, "  %s\n", missing)
	}
	return err
}

// collectionIsNot says of a collection of which there is nothing to restore what was removed from it; nil if nothing was.
func (p *past) collectionIsNot(below *fs.FS) error {
	missing, err := p.notRestored(below)
	if missing != "" {
		return errors.New(missing)
	}
	return err
}

var errChanged = errors.New("it has changed meanwhile, and nothing was restored: look at it, and try again")

// asSeen returns a check that what a name stands for is what it is now, and that no client has locked it, or what is in
// it.
func asSeen(ctx context.Context, store *etagfs.Store, name string) (tree.Check, error) {
	seen, err := store.Stat(ctx, name, tree.WantTag)
	if err != nil && !errors.Is(err, tree.ErrNotExist) {
		return nil, err
	}
	return func(v tree.View) error {
		now, err := v.State(name)
		if err != nil {
			return err
		}
		if now.Exists && !now.Collection && now.Tag == "" {
			return tree.ErrTagUnknown
		}
		if now.Exists != seen.Exists || now.Collection != seen.Collection || now.Tag != seen.Tag {
			return errChanged
		}
		locks, err := v.Locks(name)
		if err != nil {
			return err
		}
		for _, lock := range locks {
			return &tree.LockedError{Name: name, Lock: lock}
		}
		return nil
	}, nil
}

// refusal says what to do about an error of the store.
func (p *past) refusal(err error) error {
	locked := new(tree.LockedError)
	switch {
	case errors.As(err, &locked):
		return fmt.Errorf("a client has locked %s until %s: nothing was restored", p.show(locked.Lock.Root), locked.Lock.Expires.Format(time.RFC3339))
	case errors.Is(err, tree.ErrNoParent):
		return fmt.Errorf("the directory that %s was in is gone: restore that first, or make it", p.show(p.name))
	}
	return err
}
