package helptext

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/usage"
)

// AsOwner is the part of a description about commands that root runs on a served directory.
const AsOwner = "As root, it acts as the owner of the .ifmatch in the directory, or else of the directory."

// Group is a command that does nothing by itself and has commands of its own.
func Group(misused cli.OnUsageErrorFunc, name, about, description string, commands ...*cli.Command) *cli.Command {
	var names []string
	for _, command := range commands {
		names = append(names, command.Name)
	}
	last := len(names) - 1
	known := strings.Join(names[:last], ", ") + " or " + names[last]
	return &cli.Command{
		Name: name, Usage: about, Description: description, Subcommands: commands, OnUsageError: misused,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage.Errorf("%s has no command %q: use %s", c.Command.HelpName, c.Args().First(), known)
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

// ReportTo returns a function that prints errors of the store.
func ReportTo(w io.Writer) func(error) {
	return func(err error) { fmt.Fprintf(w, "ifmatch: %v\n", err) }
}
