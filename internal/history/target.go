package history

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/internal/duration"
	"r-seed-1f3a754f.example/ifmatch/internal/runas"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// arguments are the arguments of a command about the history of one name.
type arguments struct {
	needs      Needs
	place      database.Place // its Store is "" for a directory
	root, name string         // the served directory, and the name below it
	etag       tree.ETag
	at         time.Time // zero: no --at
	since      time.Time // zero: no --since
	dryRun     bool
}

func (n Needs) argsOf(c *cli.Context) (*arguments, error) {
	if c.NArg() > 1 {
		return nil, usage.Errorf("only one PATH is allowed: leave out %q", c.Args().Get(1))
	}
	if c.NArg() == 0 && c.Command.Name != "list" {
		return nil, usage.Errorf("no PATH is given: ifmatch history %s PATH", c.Command.Name)
	}
	p := &arguments{needs: n, dryRun: c.Bool("dry-run")}
	var err error
	if p.place, err = database.Of(c); err != nil {
		return nil, err
	}
	if err := p.settle(c); err != nil {
		return nil, err
	}
	if tag := c.String("etag"); tag != "" {
		p.etag = tree.ETag(`"` + strings.Trim(tag, `"`) + `"`)
	}
	if p.at, err = parseTime("at", c.String("at"), time.Now()); err != nil {
		return nil, err
	}
	if p.since, err = parseTime("since", c.String("since"), time.Now()); err != nil {
		return nil, err
	}
	if p.etag != "" && !p.at.IsZero() {
		return nil, usage.Errorf("--etag and --at each name a version: give one of them")
	}
	return p, nil
}

// settle finds out which name of which tree is meant.
func (p *arguments) settle(c *cli.Context) (err error) {
	if p.place.Store == "" {
		if p.root, p.name, err = p.locate(c.Path("dir"), c.Args().First()); err != nil {
			return err
		}
		return runas.Owner(p.root, p.needs.State, "")
	}
	if c.IsSet("dir") {
		return usage.Errorf("--dir and --store each name what is served: give one of them")
	}
	p.root, p.name = "/", strings.TrimPrefix(path.Clean("/"+c.Args().First()), "/")
	if err := tree.CheckName(p.name); err != nil {
		return usage.Errorf("%s: %v", c.Args().First(), err)
	}
	return nil
}

// read opens the tree, and changes nothing in it.
func (p *arguments) read(ctx context.Context) (Store, error) {
	if p.place.Store != "" {
		return p.place.Tree(ctx)
	}
	return p.needs.Read(p.root)
}

// write opens the tree to restore versions.
func (p *arguments) write(ctx context.Context, report func(error)) (Store, error) {
	if p.place.Store != "" {
		return p.place.Tree(ctx)
	}
	return p.needs.Write(p.root, report)
}

// locate splits a path into the served directory and the name below it. Without dir, the served directory is the
// nearest one above that has the state of a server. The path, and directories above it, may not exist.
func (p *arguments) locate(dir, path string) (root, name string, err error) {
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
			if info, err := os.Stat(filepath.Join(root, p.needs.State)); err == nil && info.IsDir() {
				root = p.needs.Root(root)
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
		return "", "", usage.Errorf("%s: %v", path, err)
	}
	if _, err := os.Stat(filepath.Join(root, p.needs.State)); err != nil {
		return "", "", fmt.Errorf("%s was never served, as it has no %s: name a served directory", root, p.needs.State)
	}
	return root, name, nil
}

// parseTime reads the value of a flag: a time in one of several formats, or a time before now. It is zero for "".
func parseTime(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
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
	return time.Time{}, usage.Errorf("--%s %q: write a time such as 2026-11-25T10:00:00Z or \"2026-11-25 10:00\", "+
		"or a time before now, such as 90m, 1d or yesterday", flag, s)
}
