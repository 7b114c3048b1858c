// Ifmatch serves a directory over WebDAV, with writes that cannot lose an update.
//
// Each command has a file, such as cmd_serve.go. Flags are in flags.go, their values in config.go. Only backend.go and
// backend_state.go name the packages of the store.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/auth/command"
	"r-seed-1f3a754f.example/ifmatch/internal/cluster"
	"r-seed-1f3a754f.example/ifmatch/internal/etags"
	"r-seed-1f3a754f.example/ifmatch/internal/helptext"
	"r-seed-1f3a754f.example/ifmatch/internal/history"
	"r-seed-1f3a754f.example/ifmatch/internal/locks"
	"r-seed-1f3a754f.example/ifmatch/internal/logwriter"
	"r-seed-1f3a754f.example/ifmatch/internal/sessions"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	linkcommand "r-seed-1f3a754f.example/ifmatch/links/command"
	"r-seed-1f3a754f.example/ifmatch/put"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		// The first signal stops the program in order. The second one has its default effect and kills it.
		signal.Stop(signals)
		stop()
	}()
	app := newApp(os.Stdout, os.Stderr)
	err := app.RunContext(ctx, flagsFirst(app.Commands, os.Args))
	if err != nil {
		stderr := logwriter.New(os.Stderr, nil)
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(stderr, "ifmatch: %s\n", strings.TrimSuffix(line, "\n"))
		}
		stderr.Flush(logPatience)
	}
	os.Exit(exitCode(err))
}

// A usageError reports a wrong command line. Its text says how to correct it.
type usageError = usage.Error

func usagef(format string, args ...any) error { return usage.Errorf(format, args...) }

// A statusError ends the program with the given status.
type statusError struct {
	error
	status int
}

func (e *statusError) Unwrap() error { return e.error }

const (
	statusChanged     = 1   // a command that compares found differences, or another command failed
	statusRefused     = 3   // a condition is not true
	statusTrouble     = 2   // a command that compares failed, or a command line is wrong
	statusInterrupted = 130 // as shells report SIGINT
)

// differs ends the program with the status of a command that compares and has found differences.
func differs(err error) error { return &statusError{err, statusChanged} }

func exitCode(err error) int {
	usage, other, refused := new(usageError), new(statusError), new(put.Refused)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return statusTrouble
	case errors.As(err, &other):
		return other.status
	case errors.As(err, &refused):
		return statusRefused
	case errors.Is(err, context.Canceled):
		return statusInterrupted
	}
	return 1
}

func newApp(stdout, stderr io.Writer) *cli.App {
	helptext.Use()
	misused := func(c *cli.Context, err error, _ bool) error {
		return usagef("%s (see: %s --help)", misuse(err), c.Command.HelpName)
	}
	access := command.Needs{Misused: misused, Users: usersFlag(), Days: withDays, Alike: alike, Shelf: openShelf}
	databases := cluster.Needs{Misused: misused, State: stateName, Open: openSource, Differs: differs, Checkup: checkup}
	send := put.Command(misused)
	send.Flags = withDays(send.Flags)
	return &cli.App{
		Name:                 "ifmatch",
		Usage:                "serve a directory over WebDAV, with writes that cannot lose an update",
		Version:              programVersion(),
		Writer:               stdout,
		ErrWriter:            stderr,
		EnableBashCompletion: true,
		OnUsageError:         misused,
		ExitErrHandler:       func(*cli.Context, error) {}, // main prints errors
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("there is no command %q (see: ifmatch --help)", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Commands: withPartners(append([]*cli.Command{
			serveCommand(misused),
			etags.Command(misused),
			locks.Command(misused, openLocks),
			history.New(history.Needs{Misused: misused, State: stateName, Root: servedRoot, Read: openHistory, Write: openRestore}),
			indexCommand(misused),
			send,
			command.User(access), sessions.Command(misused),
			linkcommand.New(linkcommand.Needs{
				Misused: misused, Users: usersFlag(), Days: withDays, Ask: command.ReadPassword,
				Shelf: openShelf,
			}),
			cluster.Import(databases), cluster.Export(databases), cluster.Command(databases),
			command.Explain(access), configCommand(misused), doctorCommand(misused),
			{
				Name:         "version",
				Usage:        "print the version",
				OnUsageError: misused,
				Before:       noArgument,
				Action: func(c *cli.Context) error {
					fmt.Fprintf(c.App.Writer, "ifmatch %s (%s, %s/%s)\n",
						programVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
					return nil
				},
			},
		}, generateCommands(misused)...)),
	}
}

// noArgument refuses an argument of a command that takes none.
func noArgument(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("%s takes no argument: leave out %q", c.Command.HelpName, c.Args().First())
	}
	return nil
}

// linkedVersion is the version of a release: go build -ldflags "-X main.linkedVersion=v1.2.3".
var linkedVersion string

func programVersion() string {
	if linkedVersion != "" {
		return linkedVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version // the tag or commit, or "(devel)"
	}
	return "(unknown)"
}
