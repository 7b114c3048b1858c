package main

import (
	"io"

	"ifmatch/internal/manual"

	"github.com/urfave/cli/v2"
)

// generateCommands print the manual page and the completion scripts, which are made of the program's own help.
func generateCommands(misused cli.OnUsageErrorFunc) []*cli.Command {
	return []*cli.Command{
		{
			Name: "man", Usage: "print the manual page ifmatch(1)", OnUsageError: misused,
			Action: func(c *cli.Context) error {
				if c.Args().Present() {
					return usagef("ifmatch man takes no argument: leave out %q", c.Args().First())
				}
				manual.Write(c.App.Writer, c.App)
				return nil
			},
		},
		{
			Name: manual.CompletionName, Usage: "print a completion script for a shell: bash, zsh or fish", ArgsUsage: "SHELL",
			OnUsageError: misused,
			Action: func(c *cli.Context) error {
				write, known := map[string]func(io.Writer, *cli.App){
					"bash": manual.Bash, "zsh": manual.Zsh, "fish": manual.Fish,
				}[c.Args().First()]
				if !known || c.NArg() != 1 {
					return usagef("ifmatch completion: name one shell: bash, zsh or fish")
				}
				write(c.App.Writer, c.App)
				return nil
			},
		},
	}
}
