// Package database opens the tree in a database that a command line names.
package database

import (
	"context"
	"fmt"
	"net/url"
	"os"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/runas"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/settings"
)

// A Place is where a tree is: the address of its database, and that of its large contents.
type Place struct{ Store, Blobs string }

// Flags are the flags that name a [Place]. The environment can, too.
func Flags() []cli.Flag { return flags(settings.Variables) }

// Choice are the same flags for commands that work on a directory where these are not given. The environment counts for
// nothing there.
func Choice() []cli.Flag { return flags(func(string) []string { return nil }) }

func flags(variables func(string) []string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "store", EnvVars: variables("store"), Usage: "the tree in the database at `ADDRESS`, such as " +
			"postgres://user@host/database; the password comes from PGPASSFILE"},
		&cli.StringFlag{Name: "blobs", EnvVars: variables("blobs"),
			Usage: "the `ADDRESS` of the large contents of --store, such as dir:///srv/blobs"},
	}
}

// Of returns the place that a command line names. Its Store is "" if it names none.
func Of(c *cli.Context) (Place, error) {
	p := Place{c.String("store"), c.String("blobs")}
	if p.Store == "" {
		return p, nil
	}
	return p, p.Check()
}

// Needed is [Of] for commands that work on a database alone.
func Needed(c *cli.Context) (Place, error) {
	p, err := Of(c)
	if err == nil && p.Store == "" {
		err = usage.Errorf("name the database: %s --store postgres://user@host/database --blobs dir:///srv/blobs",
			c.Command.HelpName)
	}
	if err == nil && p.Blobs == "" {
		err = usage.Errorf("--store needs --blobs too, the place for large contents: such as dir:///srv/blobs")
	}
	return p, err
}

// Check refuses a text that is no address of a database, and one with a password, which each user of the machine could
// read.
func (p Place) Check() error {
	at, err := url.Parse(p.Store)
	switch {
	case err != nil || at.Scheme != "postgres" && at.Scheme != "postgresql":
		return usage.Errorf("--store is no address of a database: give one such as postgres://user@host/database")
	case hasPassword(at):
		return usage.Errorf("--store has a password, which each user of this machine can read: put it into a file, and its " +
			"name into PGPASSFILE")
	}
	return nil
}

func hasPassword(at *url.URL) bool {
	_, has := at.User.Password()
	return has || at.Query().Has("password")
}

// Open opens the tree. Without Blobs, large contents cannot be read or written.
func (p Place) Open(ctx context.Context, opts pgstore.Options) (*pgstore.Store, error) {
	if p.Blobs != "" {
		objects, err := blobs.Open(p.Blobs)
		if err != nil {
			return nil, fmt.Errorf("--blobs: %w", err)
		}
		opts.Blobs = objects
	}
	store, err := pgstore.Open(ctx, p.Store, opts)
	if err != nil {
		return nil, fmt.Errorf("--store: %w", err)
	}
	return store, nil
}

// Tree opens a tree that is there, for commands that write no large content. Its tables must be those of this release.
func (p Place) Tree(ctx context.Context) (*pgstore.Store, error) {
	return p.Open(ctx, pgstore.Options{Reader: true})
}

// ActAsOwner has a command of root act as the owner of the directory with the large contents, so that the servers can
// read the files that it writes there.
func (p Place) ActAsOwner() error {
	at, err := url.Parse(p.Blobs)
	if err != nil || at.Scheme != "dir" {
		return nil // Open judges it
	}
	if _, err := os.Stat(at.Path); err != nil {
		return nil // it is made
	}
	return runas.Owner(at.Path, "", "")
}
