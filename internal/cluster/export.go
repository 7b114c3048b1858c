package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/transfer"
)

// Export returns the command ifmatch export.
func Export(n Needs) *cli.Command {
	return &cli.Command{
		Name: "export", ArgsUsage: "DIR", OnUsageError: n.Misused,
		Usage: "mirror a tree in a database in a directory, and compare all ETags",
		Description: "DIR is made, or is empty, or an earlier mirror, which only gets what has changed since. Its files are " +
			"read-only. A reader of DIR sees each file whole, in the old or the new version. Files in DIR that the mirror has " +
			"not made, and those that were changed there, stay as they are, and a line on standard output names them.\n\n" +
			"With --follow, changes are taken as they happen, after the comparison, until the command is stopped. Where the " +
			"database goes away, it waits. Old versions, locks and properties are not in the mirror.\n\n" +
			"Exit status: 0 if all files have the same ETag in DIR, 1 if not.",
		Flags: append(database.Flags(),
			&cli.BoolFlag{Name: "follow", Usage: "go on, and take each change when it happens"}),
		Action: n.runExport,
	}
}

func (n Needs) runExport(c *cli.Context) (err error) {
	place, err := database.Needed(c)
	if err == nil && c.NArg() != 1 {
		err = usage.Errorf("name one directory: ifmatch export DIR --store ADDRESS --blobs ADDRESS")
	}
	if err != nil {
		return err
	}
	store, err := place.Tree(c.Context)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	m := &transfer.Mirror{Dir: c.Args().First(), From: store, Identity: store.ID(), Tell: func(name, what string) {
		if name != "" {
			name = strconv.Quote("/"+name) + ": "
		}
		fmt.Fprintln(c.App.Writer, name+what)
	}}
	if err := m.Open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	done, err := m.Run(c.Context)
	fmt.Fprintf(c.App.ErrWriter, "%s fetched (%s), %s removed\n", number(done.Fetched, "file was", "files were"),
		humanize.Bytes(uint64(done.Bytes)), number(done.Removed, "file or directory", "files and directories"))
	if err != nil {
		return fmt.Errorf("%w (the export goes on when it is started again)", err)
	}
	fmt.Fprintf(c.App.ErrWriter, "compared: %s the same ETag, %s\n", number(done.Compared, "file has", "files have"),
		number(done.Different, "name differs", "names differ"))
	if c.Bool("follow") {
		done, err = m.Follow(c.Context)
		if !errors.Is(err, context.Canceled) {
			return err
		}
		fmt.Fprintf(c.App.ErrWriter, "stopped: %s fetched in all\n", number(done.Fetched, "file was", "files were"))
	}
	if done.Different > 0 {
		return n.Differs(errors.New("the mirror is not the tree: see above"))
	}
	return nil
}
