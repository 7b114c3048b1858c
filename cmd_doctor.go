package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/doctor"
	"r-seed-1f3a754f.example/ifmatch/internal/cluster"
	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/links"
	"r-seed-1f3a754f.example/ifmatch/settings/values"
)

// doctorPatience bounds a whole diagnosis.
const doctorPatience = time.Minute

func doctorCommand(misused cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "look for what keeps a directory, or a running server, from being served well, and say what to do",
		ArgsUsage: "[DIR|URL]",
		Description: "Of a directory: file system, permissions, watches, limits and clock, as they are for the user who " +
			"runs this; a directory is made in it for a moment. With --users also whether share links can be kept. Of a URL, such as https://USER:PASSWORD@files.example/: the " +
			"certificate, and whether a proxy on the way leaves ETags, methods and headers as they must be. Exit status 1: " +
			"something is wrong.\n\n" +
			"With --store, of the tree in a database, beside running servers: the settings of the database and its standbys, the " +
			"tables, resources and objects that nothing leads to, contents that are missing, and with --verify those that are " +
			"damaged. --fix gives resources a name again, and has the servers remove what nothing leads to.",
		Flags: append(database.Choice(),
			&cli.BoolFlag{Name: "verify", Usage: "with --store: read all contents, and compare them with their ETags"},
			&cli.StringFlag{Name: "rate", Value: "0", Usage: "with --verify: read at most a `SIZE`, such as 50MB, in a second; " +
				"0 for as much as there is"},
			&cli.BoolFlag{Name: "fix", Usage: "with --store: mend what can be mended"},
			usersFlag(),
			&cli.StringFlag{Name: "user-header",
				Usage: "`HEADER` in which a proxy names the user; a client that sends it must not be believed " +
					"(default: those that are usual)"},
		),
		OnUsageError: misused,
		Action: func(c *cli.Context) error {
			place, err := database.Of(c)
			switch {
			case err != nil:
				return err
			case place.Store != "" && c.NArg() > 0:
				return usagef("--store is looked at in place of a directory: leave out %q, or --store", c.Args().First())
			case place.Store != "":
				rate, err := values.Size("rate", c.String("rate"))
				if err != nil {
					return err
				}
				return checkup(c, place, c.Bool("verify"), rate, c.Bool("fix"))
			}
			if c.NArg() != 1 {
				return usagef("write ifmatch doctor DIR, or ifmatch doctor URL")
			}
			d := &doctor.Diagnosis{Out: c.App.Writer}
			ctx, cancel := context.WithTimeout(c.Context, doctorPatience)
			defer cancel()
			if at := c.Args().First(); strings.HasPrefix(at, "http://") || strings.HasPrefix(at, "https://") {
				d.URL(ctx, at, c.String("user-header"))
			} else {
				dir := directoryOf(at)
				if users := c.Path("users"); users != "" {
					dir.Links = func() error { return links.CheckKept(users) }
				}
				d.Dir(ctx, dir)
			}
			return concluded(d)
		},
	}
}

// concluded returns the error of a diagnosis that has found faults.
func concluded(d *doctor.Diagnosis) error {
	if d.Wrong == 0 {
		return nil
	}
	return &statusError{fmt.Errorf("%d of %d looks found something wrong", d.Wrong, d.Looks), statusChanged}
}

// checkup looks at a tree in a database.
func checkup(c *cli.Context, place database.Place, verify bool, rate int64, fix bool) error {
	d := &doctor.Diagnosis{Out: c.App.Writer}
	err := cluster.Doctor(c.Context, place, d, verify, rate, fix, func(name, what string) {
		fmt.Fprintf(c.App.Writer, "       %q: %s\n", "/"+name, what)
	})
	if err != nil {
		return err
	}
	return concluded(d)
}

// directoryOf lets a doctor look at a directory with the eyes of a server.
func directoryOf(dir string) doctor.Directory {
	return doctor.Directory{
		Path: dir, State: stateName, Doubts: doubts(Config{Dir: dir}),
		Stat: func() error { _, err := statDir(dir); return err },
		Try: func(ctx context.Context, probe string) (disk doctor.Disk, err error) {
			opened, err := openBackend(Config{Dir: probe}, slog.New(slog.DiscardHandler))
			if err != nil {
				return disk, err
			}
			defer opened.Close()
			if disk.Used, disk.Free, err = opened.Quota(ctx, ""); err != nil {
				disk.Used, disk.Free = 0, 0 // it does not say
			}
			disk.Traits = traitsOf(opened.dir.Abilities())
			return disk, nil
		},
	}
}

// traitsOf words the abilities of a disk.
func traitsOf(able capabilities) []doctor.Trait {
	return []doctor.Trait{
		{Has: able.FineTimes, What: "time stamps tell two changes apart",
			Lack: "time stamps are coarse, so that fresh files are hashed again"},
		{Has: able.CreateOnly, What: "files are created atomically",
			Lack: "a new file of a local program can be overwritten"},
		{Has: able.Exchange, What: "files are exchanged atomically",
			Lack: "what a local program changes in the instant of a commit is lost"},
		{Has: able.Leases, What: "leases tell who has a file open",
			Lack: "there are no leases: who has a file open for writing is not seen"},
		{Has: able.Attributes, What: "properties can be kept",
			Lack: "there are no extended attributes, so that properties cannot be set"},
		{Has: able.Flock, What: "several servers may share the directory",
			Lack: "there are no file locks: start one server only"},
	}
}
