// Package sessions is the command ifmatch sessions. It lists the logins at the page, and ends them.
package sessions

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/auth/session/replicated"
	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/internal/helptext"
	"r-seed-1f3a754f.example/ifmatch/internal/runas"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
)

// Command returns the command. A running server notices at its next request.
func Command(misused cli.OnUsageErrorFunc) *cli.Command {
	flags := append(database.Choice(), &cli.PathFlag{Name: "state-dir", Usage: "the --state-dir `DIR` of the server",
		EnvVars: []string{"IFMATCH_STATE_DIR"}})
	return helptext.Group(misused, "sessions", "list or end the sessions of users who have logged in at the page",
		"They are kept with the state of the served directory (of the first share, where there are several), in "+
			"--state-dir, or in the database of several servers (--store, in place of DIR). "+helptext.AsOwner,
		&cli.Command{
			Name: "list", ArgsUsage: "[DIR]", OnUsageError: misused, Flags: flags,
			Usage: "print the sessions: name of the session, user, begin, last use, end if it is used no more, client",
			Action: func(c *cli.Context) error {
				open, rest, err := tableOf(c)
				if err == nil && (open == nil || len(rest) > 0) {
					err = usage.Errorf("name the served directory, or a database: ifmatch sessions list DIR")
				}
				return with(open, err, func(table *session.Table) error { return list(c, table) })
			},
		},
		&cli.Command{
			Name: "end", ArgsUsage: "[DIR] USER|SESSION...", OnUsageError: misused,
			Usage: "end the sessions of users, or single ones",
			Flags: append(flags, &cli.BoolFlag{Name: "all", Usage: "end all sessions"}),
			Action: func(c *cli.Context) error {
				open, rest, err := tableOf(c)
				if err == nil && (open == nil || (len(rest) == 0) != c.Bool("all")) {
					err = usage.Errorf("name the directory, or a database, and the sessions: " +
						"ifmatch sessions end DIR USER|SESSION..., or ifmatch sessions end --all DIR")
				}
				return with(open, err, func(table *session.Table) error { return end(c, table, rest) })
			},
		})
}

// An opener opens the sessions of a command line, and returns the function that closes them.
type opener func() (*session.Table, func() error, error)

// tableOf returns the sessions that a command line names, and its other arguments. The opener is nil if it names none.
func tableOf(c *cli.Context) (opener, []string, error) {
	place, err := database.Of(c)
	switch {
	case err != nil:
		return nil, nil, err
	case place.Store != "":
		return func() (*session.Table, func() error, error) {
			store, err := place.Tree(c.Context)
			if err != nil {
				return nil, nil, err
			}
			return session.New(replicated.New(store.Notes(replicated.Kind)), store.Time), store.Close, nil
		}, c.Args().Slice(), nil
	case !c.Args().Present():
		return nil, nil, nil
	}
	dir := c.Args().First()
	return func() (*session.Table, func() error, error) {
		if _, err := os.Stat(filepath.Join(dir, ".ifmatch")); errors.Is(err, os.ErrNotExist) && c.Path("state-dir") == "" {
			return nil, nil, fmt.Errorf("%s has not been served yet: name the directory that was given to ifmatch serve", dir)
		}
		if err := runas.Owner(dir, ".ifmatch", c.Path("state-dir")); err != nil {
			return nil, nil, err
		}
		none := func() error { return nil }
		return session.New(session.Of(dir, c.Path("state-dir"), func(error) {}), nil), none, nil
	}, c.Args().Tail(), nil
}

// with opens the sessions for a function, unless there was an error.
func with(open opener, err error, do func(*session.Table) error) error {
	if err != nil {
		return err
	}
	table, closed, err := open()
	if err != nil {
		return err
	}
	return errors.Join(do(table), closed())
}

func list(c *cli.Context, table *session.Table) error {
	all, err := table.All(c.Context)
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	for _, s := range all {
		user := s.User
		if s.Token != "" {
			user += "/" + s.Token
		}
		fmt.Fprintln(out, strings.Join([]string{s.Key.Short(), user, s.Began.UTC().Format(time.RFC3339),
			s.Used.UTC().Format(time.RFC3339), s.Ends().UTC().Format(time.RFC3339), s.From}, "\t"))
	}
	return out.Flush()
}

// end ends the named sessions. If one of the names is wrong, it ends none.
func end(c *cli.Context, table *session.Table, names []string) error {
	all, err := table.All(c.Context)
	if err != nil {
		return err
	}
	chosen := map[session.Key]session.Session{}
	for _, name := range names {
		found := false
		for _, s := range all {
			if s.User == name || s.Key.Short() == name {
				chosen[s.Key], found = s, true
			}
		}
		if !found {
			return fmt.Errorf("there is no session %q: list the sessions with ifmatch sessions list", name)
		}
	}
	for _, s := range all {
		if _, named := chosen[s.Key]; !named && !c.Bool("all") {
			continue
		}
		if err := table.End(c.Context, s.Key); err != nil {
			return err
		}
		fmt.Fprintf(c.App.Writer, "ended: %s of %s\n", s.Key.Short(), s.User)
	}
	return nil
}
