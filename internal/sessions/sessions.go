// Package sessions is the command ifmatch sessions. It lists the logins at the page, and ends them.
package sessions

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/internal/runas"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
)

// Command returns the command. A running server notices at its next request.
func Command(misused cli.OnUsageErrorFunc) *cli.Command {
	stateDir := &cli.PathFlag{Name: "state-dir", Usage: "the --state-dir `DIR` of the server",
		EnvVars: []string{"IFMATCH_STATE_DIR"}}
	return &cli.Command{
		Name:         "sessions",
		Usage:        "list or end the sessions of users who have logged in at the page",
		OnUsageError: misused,
		Description: "They are kept with the state of the served directory (of the first share, where there are several), or in " +
			"--state-dir. As root, it acts as the owner of the .ifmatch in the directory, or else of the directory.",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage.Errorf("ifmatch sessions has no command %q: use list or end", c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
		Subcommands: []*cli.Command{
			{
				Name: "list", ArgsUsage: "DIR", OnUsageError: misused, Flags: []cli.Flag{stateDir},
				Usage: "print the sessions: name of the session, user, begin, last use, end if it is used no more, client",
				Action: func(c *cli.Context) error {
					if c.NArg() != 1 {
						return usage.Errorf("name the served directory: ifmatch sessions list DIR")
					}
					return list(c)
				},
			},
			{
				Name: "end", ArgsUsage: "DIR USER|SESSION...", OnUsageError: misused,
				Usage: "end the sessions of users, or single ones",
				Flags: []cli.Flag{stateDir, &cli.BoolFlag{Name: "all", Usage: "end all sessions"}},
				Action: func(c *cli.Context) error {
					if all := c.Bool("all"); c.NArg() < 1 || (c.NArg() == 1) != all {
						return usage.Errorf("name the directory and the sessions: ifmatch sessions end DIR USER|SESSION..., " +
							"or ifmatch sessions end --all DIR")
					}
					return end(c)
				},
			},
		},
	}
}

// open opens the sessions of a directory.
func open(c *cli.Context) (*session.Table, error) {
	dir := c.Args().First()
	if err := runas.Owner(dir, ".ifmatch", c.Path("state-dir")); err != nil {
		return nil, err
	}
	return session.New(session.Of(dir, c.Path("state-dir"), func(error) {}), nil), nil
}

func list(c *cli.Context) error {
	table, err := open(c)
	if err != nil {
		return err
	}
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
func end(c *cli.Context) error {
	table, err := open(c)
	if err != nil {
		return err
	}
	all, err := table.All(c.Context)
	if err != nil {
		return err
	}
	chosen := map[session.Key]session.Session{}
	for _, name := range c.Args().Tail() {
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
