// Package history is the command ifmatch history.
package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/internal/etags"
	"r-seed-1f3a754f.example/ifmatch/internal/helptext"
	"r-seed-1f3a754f.example/ifmatch/internal/restored"
	"r-seed-1f3a754f.example/ifmatch/internal/versionat"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Store has a history that the command can work on.
type Store interface {
	tree.Store
	tree.Undoer
	io.Closer
	// Prune deletes the versions of a name and of its members, tells each, and returns how many are left.
	Prune(ctx context.Context, name string, dryRun bool, told func(tree.Version, int64)) (left int, err error)
}

// Needs are the parts of the program that the command uses.
type Needs struct {
	Misused cli.OnUsageErrorFunc
	State   string                                              // the name of the state in a served directory
	Root    func(dir string) string                             // the directory whose history has the versions of dir
	Read    func(dir string) (Store, error)                     // opens a directory, and changes nothing in it
	Write   func(dir string, report func(error)) (Store, error) // opens a directory, to restore versions
}

// New returns the command. It lists, prints and restores the versions that a server has kept of a directory. It works
// on the directory itself, with or without a running server.
func New(n Needs) *cli.Command {
	dir := &cli.PathFlag{Name: "dir",
		Usage: "the served directory `DIR`; PATH is below it (default: found upwards from PATH)"}
	etag := &cli.StringFlag{Name: "etag", Usage: "the version with this `TAG`"}
	dryRun := &cli.BoolFlag{Name: "dry-run", Usage: "with --at: say what would be done, and do nothing"}
	dryPrune := &cli.BoolFlag{Name: "dry-run", Usage: "say what would be deleted, and delete nothing"}
	const times = "2026-11-25T10:00:00Z, \"2026-11-25 10:00\", or a time before now: 90m, 1d, yesterday"
	at := &cli.StringFlag{Name: "at", Usage: "the version that was current at `TIME`: " + times}
	since := &cli.StringFlag{Name: "since", Usage: "only versions that were replaced or removed since `TIME`: " + times}
	sub := func(
		name, args, usage, description string, flags []cli.Flag, do func(*cli.Context, *arguments) error,
	) *cli.Command {
		return &cli.Command{
			Name: name, ArgsUsage: args, Usage: usage, Description: description, Flags: append(flags, database.Choice()...), OnUsageError: n.Misused,
			Action: func(c *cli.Context) error {
				args, err := n.argsOf(c)
				if err != nil {
					return err
				}
				return do(c, args)
			},
		}
	}
	return helptext.Group(n.Misused, "history", "list, print, restore and delete replaced and removed versions", helptext.AsOwner,
		sub("list", "[PATH]", "list the kept versions of PATH and of its members, the oldest first",
			"A line has the time when the version was replaced or removed, the method, its size, its tag, and its path. "+
				"The last line, on standard error, sums them up. It fails if PATH does not exist and no version of it is kept.",
			[]cli.Flag{dir, since}, listVersions),
		sub("show", "PATH", "print a kept version of a file, or the members of a removed collection",
			"Without --etag and --at it is the newest kept version.", []cli.Flag{dir, etag, at}, showVersion),
		sub("restore", "PATH", "make a kept version of PATH the current one again",
			"Without --etag and --at it is the newest kept version. The version that it replaces is kept in the history. "+
				"It fails if PATH changes meanwhile, and while a client has a lock on it.\n"+
				"With --at, PATH and everything below it become what they were at that time: what was replaced or removed comes "+
				"back, what was moved is moved back, and what was made since then is removed, to the history. What programs have "+
				"changed on the disk is named, and left as it is. Then the exit status is 1.",
			[]cli.Flag{dir, etag, at, dryRun}, restoreVersion),
		sub("prune", "PATH", "delete the kept versions of PATH and of its members before their time is over",
			"The current versions stay. Of a kept collection above PATH, what it had at PATH is deleted, and the rest stays. "+
				"It cannot be taken back: look with --dry-run, or with list, first. Versions that a server is at work on stay, and "+
				"those with the word recovered, which no client has removed. Then the exit status is 1. With --store, the servers "+
				"free the space of large contents after --blob-grace.",
			[]cli.Flag{dir, dryPrune}, pruneVersions),
	)
}

// errNoVersion says that the history has no version of a name.
var errNoVersion = errors.New("no version of it is kept (see: ifmatch history list)")

// find returns the version that the arguments select.
func (p *arguments) find(ctx context.Context, store tree.Store) (tree.Version, error) {
	kept, err := versionsOf(store.Versions(ctx, p.name, tree.VersionOptions{}))
	if err != nil {
		return tree.Version{}, err
	}
	kept = slices.DeleteFunc(kept, func(v tree.Version) bool { return v.Name != p.name })
	if len(kept) == 0 {
		return tree.Version{}, fmt.Errorf("%s: %w", p.show(p.name), errNoVersion)
	}
	now := p.current(ctx, store)
	found := &kept[len(kept)-1]
	switch {
	case p.etag != "":
		found, err = p.versionWithTag(ctx, store, kept)
	case !p.at.IsZero():
		found, err = versionat.Find(kept, now, p.at)
	}
	if err != nil {
		return tree.Version{}, fmt.Errorf("%s: %w", p.show(p.name), err)
	}
	return *found, nil
}

// versionsOf returns all versions of a sequence.
func versionsOf(versions iter.Seq2[tree.Version, error]) (all []tree.Version, err error) {
	for v, err := range versions {
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// current returns the state of the name now. It is the zero value if nothing is there, or that cannot be told.
func (p *arguments) current(ctx context.Context, store tree.Store) (now tree.State) {
	_ = store.Try(ctx, tree.Condition{Names: []string{p.name}, Check: func(v tree.View) (err error) {
		now, err = v.State(p.name)
		return err
	}})
	return now
}

// versionWithTag returns the newest version with the tag of the arguments.
func (p *arguments) versionWithTag(ctx context.Context, store tree.Store, kept []tree.Version) (*tree.Version, error) {
	for i, v := range slices.Backward(kept) {
		tag := v.Tag
		if tag == "" && !v.Collection && !v.Link {
			err := readVersion(ctx, store, v, func(content io.Reader) (err error) {
				tag, err = etags.Of(content)
				return err
			})
			if err != nil && !errors.Is(err, tree.ErrNotExist) { // it has expired meanwhile
				return nil, err
			}
		}
		if tag == p.etag {
			return &kept[i], nil
		}
	}
	if now, err := store.Stat(ctx, p.name, tree.ReadOptions{Want: tree.WantTag}); err == nil && now.Tag == p.etag {
		return nil, errors.New("the current version has that tag")
	}
	return nil, errors.New("no kept version of it has that tag (see: ifmatch history list)")
}

// show returns the path of a name for people.
func (p *arguments) show(name string) string {
	return filepath.Join(p.root, filepath.FromSlash(name))
}

// readVersion calls read with the content of a file.
func readVersion(ctx context.Context, store tree.Store, v tree.Version, read func(content io.Reader) error) error {
	content, now, err := store.OpenVersion(ctx, v.ID)
	if err != nil {
		return err
	}
	defer content.Close()
	return read(io.NewSectionReader(content, 0, now.Size))
}

func listVersions(c *cli.Context, p *arguments) error {
	store, err := p.read(c.Context)
	if err != nil {
		return err
	}
	defer store.Close()
	found, sums := false, restored.Summary{}
	for v, err := range store.Versions(c.Context, p.name, tree.VersionOptions{Want: tree.WantTag}) {
		if err != nil {
			return err
		}
		found = true
		if v.Gone.Before(p.since) {
			continue
		}
		// Members are listed only of the named collection: those of every removed collection would be too many.
		members := v.Name == p.name && p.name != ""
		bytes, err := printVersion(c, store, v, members)
		if err != nil {
			return err
		}
		sums.Add(v, bytes)
		if v.Collection && !members {
			sums.Whole++
		}
	}
	if !found {
		if !p.current(c.Context, store).Exists {
			return fmt.Errorf("%s: it does not exist, and no version of it is kept", p.show(p.name))
		}
		fmt.Fprintf(c.App.ErrWriter, "%s: no version of it is kept: it was never replaced, or its versions have expired "+
			"or were deleted to make room\n", p.show(p.name))
		return nil
	}
	fmt.Fprintln(c.App.ErrWriter, sums)
	return nil
}

// printVersion prints a line about a version, and with members also one about each member of a collection. It returns the
// bytes of the files in these lines.
func printVersion(c *cli.Context, store tree.Store, v tree.Version, members bool) (bytes int64, err error) {
	path, size, tag := printable(v.Name), fmt.Sprint(v.Size), v.Tag
	switch {
	case v.Name == "":
		path = "(unknown)"
	case v.Collection:
		path += "/"
	}
	if v.Collection || v.Link {
		size, tag = "-", "-"
	}
	note := ""
	if v.Principal != "" {
		note = "  by " + printable(string(v.Principal))
	}
	if v.Late {
		note += "  (written to after that)"
	}
	fmt.Fprintf(c.App.Writer, "%s  %-9s  %10s  %-45s  %s%s\n", v.Gone.Format(time.RFC3339), v.Cause, size, tag, path, note)
	if !v.Collection {
		return v.Size, nil
	}
	if !members {
		return 0, nil
	}
	for m, err := range store.Versions(c.Context, "", tree.VersionOptions{Inside: v.ID, Want: tree.WantTag}) {
		if err != nil {
			return bytes, err
		}
		more, err := printVersion(c, store, m, true)
		if err != nil {
			return bytes, err
		}
		bytes += more
	}
	return bytes, nil
}

// printable quotes a name that would not fit on its line as it is.
func printable(name string) string {
	if quoted := fmt.Sprintf("%q", name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

func showVersion(c *cli.Context, p *arguments) error {
	store, err := p.read(c.Context)
	if err != nil {
		return err
	}
	defer store.Close()
	v, err := p.find(c.Context, store)
	if err != nil {
		return err
	}
	switch {
	case v.Collection:
		_, err := printVersion(c, store, v, true)
		if missing, failed := p.notRestored(c.Context, store); missing != "" {
			fmt.Fprintf(c.App.ErrWriter, "%s is listed as it was at %s: %s\n", p.show(p.name), versionat.Stamp(v.Gone), missing)
		} else {
			err = errors.Join(err, failed)
		}
		return err
	case v.Link:
		_, err := fmt.Fprintln(c.App.Writer, v.Target)
		return err
	}
	return readVersion(c.Context, store, v, func(content io.Reader) error {
		_, err := io.Copy(c.App.Writer, content)
		return err
	})
}

// pruneVersions deletes the versions of a name and of its members. It works beside a server, as its expiry does.
func pruneVersions(c *cli.Context, p *arguments) (err error) {
	open, done := p.write, "deleted"
	if p.dryRun {
		done = "would be deleted"
		open = func(ctx context.Context, _ func(error)) (Store, error) { return p.read(ctx) }
	}
	store, err := open(c.Context, helptext.ReportTo(c.App.ErrWriter))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	sum := restored.Summary{}
	if p.place.Store == "" {
		sum.Where = "on the disk"
	}
	left, err := store.Prune(c.Context, p.name, p.dryRun, sum.Add)
	if sum.Count() > 0 || left == 0 {
		fmt.Fprintf(c.App.ErrWriter, "%s: %s: %s\n", p.show(p.name), done, sum)
	}
	if err == nil && left > 0 {
		err = fmt.Errorf("%s: %s left: recovered ones, which no client has removed, or those that a server is at work on "+
			"(see: ifmatch history list)", p.show(p.name), number(left, "version is", "versions are"))
	}
	return err
}
