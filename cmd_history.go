package main

import (
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

	"ifmatch/internal/duration"
	"ifmatch/tree"
)

// historyCommand lists, prints and restores the versions that a server has kept of a directory. It works on the
// directory itself, with or without a running server.
func historyCommand(misused cli.OnUsageErrorFunc) *cli.Command {
	dir := &cli.PathFlag{Name: "dir",
		Usage: "the served directory `DIR`; PATH is below it (default: found upwards from PATH)"}
	etag := &cli.StringFlag{Name: "etag", Usage: "the version with this `TAG`"}
	at := &cli.StringFlag{Name: "at", Usage: "the version that was current at `TIME`: 2026-11-25T10:00:00Z, " +
		"\"2026-11-25 10:00\", or a time before now: 90m, 1d, yesterday"}
	sub := func(
		name, args, usage, description string, flags []cli.Flag, do func(*cli.Context, *historyArgs) error,
	) *cli.Command {
		return &cli.Command{
			Name: name, ArgsUsage: args, Usage: usage, Description: description, Flags: flags, OnUsageError: misused,
			Action: func(c *cli.Context) error {
				args, err := historyArgsOf(c)
				if err != nil {
					return err
				}
				return do(c, args)
			},
		}
	}
	return group(misused, "history", "list, print and restore replaced and removed versions",
		sub("list", "[PATH]", "list the kept versions of PATH and of its members, the oldest first",
			"A line has the time when the version was replaced or removed, the method, its size, its tag, and its path.\n"+
				"It fails if PATH does not exist and no version of it is kept.", []cli.Flag{dir}, listVersions),
		sub("show", "PATH", "print a kept version of a file, or the members of a removed collection",
			"Without --etag and --at it is the newest kept version.", []cli.Flag{dir, etag, at}, showVersion),
		sub("restore", "PATH", "make a kept version of PATH the current one again",
			"Without --etag and --at it is the newest kept version. The version that it replaces is kept in the history.\n"+
				"It fails if PATH changes meanwhile, and while a client has a lock on it.",
			[]cli.Flag{dir, etag, at}, restoreVersion),
	)
}

// historyArgs are the arguments of a command about the history of one name.
type historyArgs struct {
	root, name string // the served directory, and the name below it
	etag       tree.ETag
	at         time.Time // zero: no --at
}

func historyArgsOf(c *cli.Context) (*historyArgs, error) {
	if c.NArg() > 1 {
		return nil, usagef("only one PATH is allowed: leave out %q", c.Args().Get(1))
	}
	if c.NArg() == 0 && c.Command.Name != "list" {
		return nil, usagef("no PATH is given: ifmatch history %s PATH", c.Command.Name)
	}
	p := &historyArgs{}
	var err error
	if p.root, p.name, err = locate(c.Path("dir"), c.Args().First()); err != nil {
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

// locate splits a path into the served directory and the name below it. Without dir, the served directory is the
// nearest one above that has the state of a server. The path, and directories above it, may not exist.
func locate(dir, path string) (root, name string, err error) {
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
				root = servedRoot(root)
				break
			}
			if root == filepath.Dir(root) {
				return "", "", fmt.Errorf("%s is in no served directory: name the served directory with --dir", path)
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
		return "", "", fmt.Errorf("%s was never served, as it has no %s: name a served directory", root, stateName)
	}
	return root, name, nil
}

// parseTime reads a time in one of several formats, or a time before now.
func parseTime(s string, now time.Time) (time.Time, error) {
	if t, ok := duration.ParseAgo(s, now); ok {
		return t, nil
	}
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02",
	} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--at %q: write a time such as 2026-11-25T10:00:00Z or \"2026-11-25 10:00\", "+
		"or a time before now, such as 90m, 1d or yesterday", s)
}

// errNoVersion says that the history has no version of a name.
var errNoVersion = errors.New("no version of it is kept (see: ifmatch history list)")

// find returns the version that the arguments select.
func (p *historyArgs) find(dir *historyDir) (version, error) {
	kept, err := dir.History(p.name)
	if err != nil {
		return version{}, err
	}
	kept = slices.DeleteFunc(kept, func(v version) bool { return v.Path != p.name })
	if len(kept) == 0 {
		return version{}, fmt.Errorf("%s: %w", p.show(p.name), errNoVersion)
	}
	now, err := dir.Lstat(p.name)
	if err != nil {
		now = fileInfo{}
	}
	found := &kept[len(kept)-1]
	switch {
	case p.etag != "":
		found, err = p.versionWithTag(dir, kept, now)
	case !p.at.IsZero():
		found, err = versionAt(kept, now, p.at)
	default:
		err = nil
	}
	if err != nil {
		return version{}, fmt.Errorf("%s: %w", p.show(p.name), err)
	}
	return *found, nil
}

// versionWithTag returns the newest version with the tag of the arguments.
func (p *historyArgs) versionWithTag(dir *historyDir, kept []version, now fileInfo) (*version, error) {
	for i, v := range slices.Backward(kept) {
		tag, err := tagOfVersion(dir, v)
		if err != nil && !errors.Is(err, iofs.ErrNotExist) { // it has expired meanwhile
			return nil, err
		}
		if tag == p.etag {
			return &kept[i], nil
		}
	}
	if tag, err := tagOfVersion(dir, dir.Unkept(p.name, now)); err == nil && tag == p.etag {
		return nil, errors.New("the current version has that tag")
	}
	return nil, errors.New("no kept version of it has that tag (see: ifmatch history list)")
}

// show returns the path of a name for people.
func (p *historyArgs) show(name string) string {
	return filepath.Join(p.root, filepath.FromSlash(name))
}

// tagOfVersion returns the tag of a file, hashed if need be, and "" for a directory or a link.
func tagOfVersion(dir *historyDir, v version) (tag tree.ETag, err error) {
	if v.Kind != kindFile || v.Tag != "" {
		return tree.ETag(v.Tag), nil
	}
	err = readVersion(dir, v, func(content io.Reader) error {
		tag, err = tagOf(content)
		return err
	})
	return tag, err
}

// readVersion calls read with the content of a file.
func readVersion(dir *historyDir, v version, read func(content io.Reader) error) error {
	f, info, err := dir.OpenKept(v)
	if err != nil {
		return err
	}
	defer f.Close()
	return read(io.NewSectionReader(f, 0, info.Size))
}

func listVersions(c *cli.Context, p *historyArgs) error {
	dir, err := openHistory(p.root)
	if err != nil {
		return err
	}
	defer dir.Close()
	all, err := dir.History(p.name)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		if _, err := dir.Lstat(p.name); err != nil {
			return fmt.Errorf("%s: it does not exist, and no version of it is kept", p.show(p.name))
		}
		fmt.Fprintf(c.App.ErrWriter, "%s: no version of it is kept: it was never replaced, or its versions have expired "+
			"or were deleted to make room\n", p.show(p.name))
	}
	for _, v := range all {
		// Members are listed only of the named collection: those of every removed collection would be too many.
		if err := printVersion(c.App.Writer, dir, v, v.Path == p.name && p.name != ""); err != nil {
			return err
		}
	}
	return nil
}

// printVersion prints a line about a version, and with members also one about each member of a collection.
func printVersion(w io.Writer, dir *historyDir, v version, members bool) error {
	tag, err := tagOfVersion(dir, v)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil // it has expired meanwhile
	}
	if err != nil {
		return err
	}
	path, size := printable(v.Path), fmt.Sprint(v.Size)
	switch {
	case v.Path == "":
		path = "(unknown)"
	case v.Kind == kindDirectory:
		path += "/"
	}
	if v.Kind != kindFile {
		size, tag = "-", "-"
	}
	note := ""
	if v.Late {
		note = "  (written to after that)"
	}
	fmt.Fprintf(w, "%s  %-9s  %10s  %-45s  %s%s\n", v.Gone.Format(time.RFC3339), v.Cause, size, tag, path, note)
	if !members || v.Kind != kindDirectory {
		return nil
	}
	all, err := dir.Inside(v)
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := printVersion(w, dir, m, true); err != nil {
			return err
		}
	}
	return nil
}

// printable quotes a name that would not fit on its line as it is.
func printable(name string) string {
	if quoted := fmt.Sprintf("%q", name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

func showVersion(c *cli.Context, p *historyArgs) error {
	dir, err := openHistory(p.root)
	if err != nil {
		return err
	}
	defer dir.Close()
	v, err := p.find(dir)
	if err != nil {
		return err
	}
	switch v.Kind {
	case kindDirectory:
		err := printVersion(c.App.Writer, dir, v, true)
		if missing, failed := p.notRestored(dir); missing != "" {
			fmt.Fprintf(c.App.ErrWriter, "%s is listed as it was at %s: %s\n", p.show(p.name), stamp(v.Gone), missing)
		} else {
			err = errors.Join(err, failed)
		}
		return err
	case kindLink:
		target, err := dir.ReadlinkKept(v)
		if err == nil {
			_, err = fmt.Fprintln(c.App.Writer, target)
		}
		return err
	}
	return readVersion(dir, v, func(content io.Reader) error {
		_, err := io.Copy(c.App.Writer, content)
		return err
	})
}
