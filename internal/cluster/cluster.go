package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/internal/helptext"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/pgstore/checkup"
	"r-seed-1f3a754f.example/ifmatch/pgstore/clock"
	"r-seed-1f3a754f.example/ifmatch/pgstore/notes"
	"r-seed-1f3a754f.example/ifmatch/pgstore/replicas"
	"r-seed-1f3a754f.example/ifmatch/pgstore/session"
)

// Command returns the command ifmatch cluster.
func Command(n Needs) *cli.Command {
	sub := func(name, about, description string, do func(c *cli.Context, place database.Place) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: about, Description: description, OnUsageError: n.Misused, Flags: database.Flags(),
			Action: func(c *cli.Context) error {
				place, err := database.Needed(c)
				if err == nil && c.NArg() > 0 {
					err = usage.Errorf("%s takes no argument: leave out %q", c.Command.HelpName, c.Args().First())
				}
				if err != nil {
					return err
				}
				return do(c, place)
			},
		}
	}
	return helptext.Group(n.Misused, "cluster", "make, migrate and look at a tree in a database that several servers share", "",
		sub("init", "make the tables of a new tree, and claim the place for its large contents",
			"ifmatch serve does so too, where its role may. It changes nothing where they are there. An empty place is taken "+
				"for one that was lost, and a server refuses it then: it may be a disk that is not mounted.",
			func(c *cli.Context, place database.Place) error { return initialize(c, place, true) }),
		sub("migrate", "bring the tables to the release of this program",
			"ifmatch serve does so too, where its role may. Servers of the release before go on meanwhile.",
			func(c *cli.Context, place database.Place) error { return initialize(c, place, false) }),
		sub("status", "print the database, its standbys, programs, tables, garbage, history, feed and replicas",
			"Numbers of rows are estimates of PostgreSQL. Garbage, versions and uploads are counted up to 100,000. The role needs "+
				"pg_monitor to see all of it.", status),
		sub("restored", "make a database that was restored from a backup ready for servers, and look for missing contents",
			"Run it after the restore of the database and of the large contents, before the servers start. Clients that "+
				"follow changes list anew, and users log in again. It ends with the looks of ifmatch doctor. Exit status 1: "+
				"a content is missing, or something else is wrong.", n.restored))
}

// initialize makes or changes the tables, as a server at its start does.
func initialize(c *cli.Context, place database.Place, newBlobs bool) error {
	if err := place.ActAsOwner(); err != nil {
		return err
	}
	store, err := place.Open(c.Context, pgstore.Options{NewBlobs: newBlobs})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "the tables of the tree %s are those of this release, and --blobs belongs to it\n", store.ID())
	return store.Close()
}

// connected calls do with a connection.
func connected(ctx context.Context, place database.Place, do func(*pgx.Conn) error) error {
	conn, err := checkup.Connect(ctx, place.Store)
	if err != nil {
		return err
	}
	return errors.Join(session.Explain(do(conn)), conn.Close(context.WithoutCancel(ctx)))
}

func status(c *cli.Context, place database.Place) error {
	return connected(c.Context, place, func(conn *pgx.Conn) error {
		if err := checkup.Status(c.Context, conn, c.App.Writer); err != nil {
			return err
		}
		told, err := notes.List(c.Context, conn, replicas.Kind, replicas.Most)
		if err != nil {
			return err
		}
		return replicaStatus(c.App.Writer, replicas.Of(told))
	})
}

// replicaStatus writes which replicas run, and whether they have the same users, app tokens and rules. These are files of
// each replica.
func replicaStatus(w io.Writer, all []replicas.Replica) error {
	out := tabwriter.NewWriter(w, len("table migration  "), 0, 2, ' ', 0)
	for _, one := range all {
		files := "no users and rules"
		if one.Files != "" {
			files = "users and rules " + one.Files[:min(len(one.Files), 8)]
		}
		if one.Ahead.Abs() > clock.Off {
			files += fmt.Sprintf(", ITS CLOCK IS OFF BY %v", one.Ahead.Round(time.Second))
		}
		fmt.Fprintf(out, "replica\t%q, %s, since %s, %s\n", one.Host, one.Program, one.Started.Format(time.RFC3339), files)
	}
	switch {
	case len(all) == 0:
		fmt.Fprintln(out, "replica\tnone runs")
	case len(replicas.Others(all, all[0].Files)) > 0:
		fmt.Fprintln(out, "replicas\tNOT ALL HAVE THE SAME USERS, APP TOKENS AND RULES: give all of them the same files")
	}
	return out.Flush()
}

func (n Needs) restored(c *cli.Context, place database.Place) error {
	err := connected(c.Context, place, func(conn *pgx.Conn) error {
		epoch, err := checkup.Restored(c.Context, conn)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.App.Writer, "a new epoch has begun: %s\n", epoch)
		links, err := notes.List(c.Context, conn, "links", 1)
		if len(links) > 0 {
			fmt.Fprintln(c.App.Writer, "share links are those of the backup: look at ifmatch link list, and revoke again "+
				"those that were ended since then")
		}
		return err
	})
	if err != nil {
		return err
	}
	return n.Checkup(c, place, false, 0, false)
}

// Doubts returns the faults in the settings of a database, for a server that starts.
func Doubts(ctx context.Context, place database.Place) (all []string, err error) {
	err = connected(ctx, place, func(conn *pgx.Conn) error {
		all, err = checkup.Doubts(ctx, conn)
		return err
	})
	return all, err
}

// Doctor looks at a database and its objects, and tells a sink. names are told of contents that are lost.
func Doctor(
	ctx context.Context, place database.Place, to checkup.Sink, verify bool, rate int64, fix bool,
	told func(name, what string),
) error {
	look := checkup.Checkup{To: to, Verify: verify, Rate: rate, Fix: fix, Told: told}
	if place.Blobs != "" {
		objects, err := blobs.Open(place.Blobs)
		if err != nil {
			return fmt.Errorf("--blobs: %w", err)
		}
		look.Objects = objects
	}
	return connected(ctx, place, func(conn *pgx.Conn) error {
		look.Conn = conn
		return look.Run(ctx)
	})
}
