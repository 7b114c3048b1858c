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
			"runs this; a directory is made in it for a moment. Of a URL: the certificate, and whether a proxy on the way " +
			"leaves ETags and headers as they must be. Exit status 1: something is wrong.",
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

// A diagnosis prints its findings line by line.
type diagnosis struct {
	out          io.Writer
	looks, wrong int
}

// good prints a finding that needs no action.
func (d *diagnosis) good(format string, args ...any) { d.say("good", fmt.Sprintf(format, args...), "") }

// note prints a finding that could be better, and the action for that.
func (d *diagnosis) note(what, todo string) { d.say("note", what, todo) }

// bad prints a fault and its remedy.
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

// stop prints an error that ends the diagnosis, and reports whether there was one.
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
