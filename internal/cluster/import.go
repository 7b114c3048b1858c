// Package cluster has the commands about a tree in a database: ifmatch cluster, ifmatch import and ifmatch export.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/notes"
	"r-seed-1f3a754f.example/ifmatch/transfer"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Needs has the parts of the program that the commands use.
type Needs struct {
	Misused cli.OnUsageErrorFunc
	State   string // the name of the state in a served directory
	// Open opens a directory that was served, to read the dead properties of its files.
	Open func(dir string) (Source, error)
	// Differs makes an error that ends the program with the status of a comparison that found differences.
	Differs func(error) error
	// Checkup is ifmatch doctor of a database.
	Checkup func(c *cli.Context, place database.Place, verify bool, rate int64, fix bool) error
}

// A Source is a directory that was served.
type Source interface {
	tree.Store
	io.Closer
}

// importJobs is how many files are read at once.
const importJobs = 8

// Import returns the command ifmatch import.
func Import(n Needs) *cli.Command {
	return &cli.Command{
		Name: "import", ArgsUsage: "DIR", OnUsageError: n.Misused,
		Usage: "copy a directory into a tree in a database, and compare all ETags",
		Description: "Contents, modification times, executable bits and the dead properties of clients are taken over. A line on " +
			"standard output names what is not: links, devices, names that are too long, ACLs and other attributes; and at the " +
			"end each file whose ETag differs. Owners and modes are not kept.\n\n" +
			"An import that was cut off, at any point, goes on when it is started again. Nothing is replaced, unless with " +
			"--replace, and then the former version is in the history. Run it as the user of the servers.\n\n" +
			"Exit status: 0 if all files have the same ETag in the tree, 1 if something was left out or differs.",
		Flags: append(database.Flags(),
			&cli.BoolFlag{Name: "into", Usage: "add to a tree that is not empty"},
			&cli.BoolFlag{Name: "replace", Usage: "with --into: replace files of the tree that have other content"},
			&cli.IntFlag{Name: "jobs", Value: importJobs, Usage: "`NUMBER` of files to read at once"},
		),
		Action: n.runImport,
	}
}

func (n Needs) runImport(c *cli.Context) (err error) {
	place, err := database.Needed(c)
	switch {
	case err != nil:
		return err
	case c.NArg() != 1:
		return usage.Errorf("name one directory: ifmatch import DIR --store ADDRESS --blobs ADDRESS")
	case c.Int("jobs") < 1 || c.Int("jobs") > 64:
		return usage.Errorf("--jobs %d: give a number from 1 to 64", c.Int("jobs"))
	}
	dir, err := filepath.Abs(c.Args().First())
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if errors.Is(err, iofs.ErrNotExist) {
		err = fmt.Errorf("%s does not exist: name the directory to import", c.Args().First())
	}
	if err != nil {
		return err
	}
	if err := place.ActAsOwner(); err != nil {
		return err
	}
	store, err := place.Open(c.Context, pgstore.Options{NoHistory: !c.Bool("replace")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	mark := mark{store.Notes("import"), dir}
	if !c.Bool("into") {
		if err := mark.begin(c.Context, store); err != nil {
			return err
		}
	}
	im := &transfer.Import{
		Dir: dir, State: n.State, To: store, Replace: c.Bool("replace"), Alone: !c.Bool("into"), Jobs: c.Int("jobs"),
		Tell: func(name, what string) { fmt.Fprintf(c.App.Writer, "%s: %s\n", strconv.Quote("/"+name), what) },
	}
	close, err := n.withProperties(im)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, close()) }()
	done, err := im.Run(c.Context)
	fmt.Fprintf(c.App.ErrWriter, "%s (%s) and %s were imported, %s there already\n", number(done.Files.Load(), "file", "files"),
		humanize.Bytes(uint64(done.Bytes.Load())), number(done.Collections.Load(), "directory", "directories"),
		number(done.Known.Load(), "file was", "files were"))
	if err != nil {
		return fmt.Errorf("%w (the import goes on when it is started again)", err)
	}
	return n.concluded(c, mark, done)
}

// number writes a number of things.
func number(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

// withProperties has an import take the dead properties of a directory that was served.
func (n Needs) withProperties(im *transfer.Import) (close func() error, err error) {
	if _, err := os.Stat(filepath.Join(im.Dir, n.State)); err != nil {
		return func() error { return nil }, nil
	}
	source, err := n.Open(im.Dir)
	if err != nil {
		return nil, fmt.Errorf("the properties in %s cannot be read: %w", im.Dir, err)
	}
	im.Properties = transfer.PropertiesOf(source)
	return source.Close, nil
}

// concluded says how an import has ended.
func (n Needs) concluded(c *cli.Context, m mark, done *transfer.Imported) error {
	left, lost, different := done.Left.Load(), done.Lost.Load(), done.Different.Load()
	fmt.Fprintf(c.App.ErrWriter, "compared: %s the same ETag, %s; %s left out, %d lost something\n",
		number(done.Compared.Load(), "file has", "files have"), number(different, "differs", "differ"),
		number(left, "was", "were"), lost)
	if different == 0 && !c.Bool("into") {
		if err := m.end(c.Context); err != nil {
			return err
		}
	}
	if left+lost+different > 0 {
		return n.Differs(errors.New("not all of the directory is in the tree: see above"))
	}
	return nil
}

// markLasts is for how long an import that was cut off can go on.
const markLasts = 90 * 24 * time.Hour

// A mark in the database says that an import into an empty tree has begun, so that it may go on where the tree is not
// empty any more.
type mark struct {
	notes *notes.Table
	dir   string
}

const markKey = "begun"

func (m mark) begin(ctx context.Context, store tree.Store) error {
	host, _ := os.Hostname() // it only tells directories apart
	mine, err := json.Marshal([]string{host, m.dir})
	if err != nil {
		return err
	}
	found, err := m.notes.Get(ctx, markKey)
	switch {
	case errors.Is(err, notes.ErrNone):
	case err != nil:
		return err
	case string(found) == string(mine):
		return nil // it goes on
	default:
		return fmt.Errorf("an import of another directory has begun, and has not ended: %s. Start it again there, or use --into "+
			"to add this one", found)
	}
	for s, err := range store.List(ctx, "", tree.ListOptions{Depth: 1}, tree.Condition{}) {
		if err != nil {
			return err
		}
		if s.Name != "" {
			return errors.New("the tree is not empty: use --into to add to it; that replaces nothing")
		}
	}
	return m.notes.Put(ctx, markKey, mine, time.Now().Add(markLasts))
}

func (m mark) end(ctx context.Context) error { return m.notes.Remove(ctx, markKey) }
