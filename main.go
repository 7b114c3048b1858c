// Ifmatch serves a directory over WebDAV, with writes that cannot lose an update.
//
// This package is the program: it reads the flags (config.go), decides where to listen (address.go), puts the rooms
// together and takes them down again (serve.go), has the directory watched (watch.go), and tells the user what to do
// next (welcome.go).
package main

import (
	"context"
	"crypto/sha256"
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

	"ifmatch/tree"
)

func main() {
	ctx, ask := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		// The first signal asks; from here on they do what they always do, so that the second one kills.
		signal.Stop(signals)
		ask()
	}()
	err := newApp(os.Stdout, os.Stderr).RunContext(ctx, flagsFirst(os.Args))
	if err != nil {
		stderr := newLogWriter(os.Stderr)
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(stderr, "ifmatch: %s\n", strings.TrimSuffix(line, "\n"))
		}
		stderr.flush(lastWords)
	}
	os.Exit(exitCode(err))
}

// A usageError reports a command line that cannot be meant. Its text says what to write instead.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// A statusError ends the program with a status of its own.
type statusError struct {
	error
	status int
}

func (e *statusError) Unwrap() error { return e.error }

const (
	statusChanged     = 1   // and nothing else, where a command compares
	statusTrouble     = 2   // also for a command line that cannot be meant
	statusInterrupted = 130 // as shells have it for SIGINT
)

func exitCode(err error) int {
	usage, other := new(usageError), new(statusError)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return statusTrouble
	case errors.As(err, &other):
		return other.status
	case errors.Is(err, context.Canceled):
		return statusInterrupted
	}
	return 1
}

// group is a command about a served directory that has commands of its own, and is none without.
func group(misused cli.OnUsageErrorFunc, name, usage string, commands ...*cli.Command) *cli.Command {
	var names []string
	for _, command := range commands {
		names = append(names, command.Name)
	}
	last := len(names) - 1
	known := strings.Join(names[:last], ", ") + " or " + names[last]
	return &cli.Command{
		Name: name, Usage: usage, Subcommands: commands, OnUsageError: misused,
		Description: "Root acts as the user who owns the .ifmatch of the directory, or the directory where there is none yet.",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("ifmatch %s has no command %q: use %s", name, c.Args().First(), known)
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

func newApp(stdout, stderr io.Writer) *cli.App {
	useHelp()
	misused := func(c *cli.Context, err error, _ bool) error {
		return usagef("%v (see: %s --help)", err, c.Command.HelpName)
	}
	return &cli.App{
		Name:                 "ifmatch",
		Usage:                "serve a directory over WebDAV, with writes that cannot lose an update",
		Version:              version(),
		Writer:               stdout,
		ErrWriter:            stderr,
		EnableBashCompletion: true,
		OnUsageError:         misused,
		ExitErrHandler:       func(*cli.Context, error) {}, // main decides
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("there is no command %q (see: ifmatch --help)", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{
			{
				Name:         "serve",
				Usage:        "serve DIR, by default the current directory",
				ArgsUsage:    "[DIR]",
				Flags:        serveFlags(),
				OnUsageError: misused,
				Action: func(c *cli.Context) error {
					cfg, err := configOf(c)
					if err != nil {
						return err
					}
					return run(c.Context, cfg, c.App.ErrWriter)
				},
			},
			{
				Name:      "etag",
				Usage:     "print the entity tag that a server gives to FILE",
				ArgsUsage: "FILE...",
				Description: "Compare and swap from a shell:\n" +
					`curl -T new -H "If-Match: $(ifmatch etag old)" http://127.0.0.1:8080/file`,
				OnUsageError: misused,
				Action: func(c *cli.Context) error {
					if !c.Args().Present() {
						return usagef("name the file whose tag to print: ifmatch etag FILE")
					}
					return printTags(c.App.Writer, c.Args().Slice())
				},
			},
			locksCommand(misused),
			historyCommand(misused),
			indexCommand(misused),
			userCommand(misused), explainCommand(misused),
			{
				Name:         "version",
				Usage:        "print the version",
				OnUsageError: misused,
				Action: func(c *cli.Context) error {
					if c.Args().Present() {
						return usagef("ifmatch version takes no argument, and got %q", c.Args().First())
					}
					fmt.Fprintf(c.App.Writer, "ifmatch %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
					return nil
				},
			},
		},
	}
}

// printTags prints the tag of each file on a line; where there are several, with the name, as sha256sum does.
func printTags(w io.Writer, files []string) error {
	var errs []error
	for _, name := range files {
		tag, err := tagOf(name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(files) == 1:
			fmt.Fprintln(w, tag)
		default:
			fmt.Fprintf(w, "%s  %s\n", tag, name)
		}
	}
	return errors.Join(errs...)
}

func tagOf(name string) (tree.ETag, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return "", fmt.Errorf("%s is a directory, and only files have a tag", name)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return tree.TagOf([sha256.Size]byte(hash.Sum(nil))), nil
}

// linkedVersion is the version of a release: go build -ldflags "-X main.linkedVersion=v1.2.3".
var linkedVersion string

func version() string {
	if linkedVersion != "" {
		return linkedVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version // of the tag or commit, or "(devel)"
	}
	return "(unknown)"
}
