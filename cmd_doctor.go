package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

func doctorCommand(misused cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "look for what keeps a directory, or a running server, from being served well, and say what to do",
		ArgsUsage: "DIR|URL",
		Description: "Of a directory: file system, permissions, watches, limits and clock, as they are for the user who " +
			"runs this; a directory is made in it for a moment. Of a URL: the certificate, and whether a proxy on the way leaves " +
			"ETags and headers as they must be. Exit status 1: something is wrong.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "user-header", Value: "X-Remote-User",
				Usage: "`HEADER` in which a proxy names the user; a client that sends it must not be believed"},
		},
		OnUsageError: misused,
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("write ifmatch doctor DIR, or ifmatch doctor URL")
			}
			d := &diagnosis{out: c.App.Writer}
			ctx, cancel := context.WithTimeout(c.Context, doctorPatience)
			defer cancel()
			if at := c.Args().First(); strings.HasPrefix(at, "http://") || strings.HasPrefix(at, "https://") {
				d.url(ctx, at, c.String("user-header"))
			} else {
				d.dir(ctx, at)
			}
			if d.wrong > 0 {
				return &statusError{fmt.Errorf("%d of %d looks found something wrong", d.wrong, d.looks), statusChanged}
			}
			return nil
		},
	}
}

// A diagnosis is what was found, told line by line.
type diagnosis struct {
	out          io.Writer
	looks, wrong int
}

// good tells what is as it must be.
func (d *diagnosis) good(format string, args ...any) { d.say("good", fmt.Sprintf(format, args...), "") }

// note tells what works less well than it could, and what to do.
func (d *diagnosis) note(what, todo string) { d.say("note", what, todo) }

// bad tells what is wrong, and what to do.
func (d *diagnosis) bad(what, todo string) {
	d.wrong++
	d.say("WRONG", what, todo)
}

func (d *diagnosis) say(how, what, todo string) {
	d.looks++
	if todo != "" {
		what += ": " + todo
	}
	fmt.Fprintf(d.out, "%-6s %s\n", how, what)
}

// stop tells an error that ends the looks.
func (d *diagnosis) stop(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: a disk, a server or the network does not answer", err)
	}
	d.bad(err.Error(), "")
	return true
}
