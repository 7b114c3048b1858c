package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Completion scripts offer the commands, and behind a command its flags and files.

// completionName is the command that prints the scripts, and shells are its possible arguments.
const completionName = "completion"

var shells = []string{"bash", "zsh", "fish"}

// wordsAfter returns the words that may follow a command: its subcommands or its flags.
func wordsAfter(c *cli.Command) (words []string) {
	for _, below := range commandsOf(c) {
		words = append(words, below.Name)
	}
	if c.Name == completionName {
		words = append(words, shells...)
	}
	for _, f := range c.Flags {
		if name := f.Names()[0]; name != "help" { // package cli adds it at some time
			words = append(words, "--"+name)
		}
	}
	return append(words, "--help")
}

func topWords(app *cli.App) (words []string) {
	for _, c := range told(app.Commands) {
		words = append(words, c.Name)
	}
	return append(words, "--help", "--version")
}

// writeCases writes a case of a shell's case statement for each command, the longest paths first.
func writeCases(w io.Writer, app *cli.App) {
	var cases [][2]string
	everyCommand(app, func(path string, c *cli.Command) {
		cases = append(cases, [2]string{path, strings.Join(wordsAfter(c), " ")})
	})
	slices.SortStableFunc(cases, func(a, b [2]string) int { return strings.Count(b[0], " ") - strings.Count(a[0], " ") })
	for _, c := range cases {
		fmt.Fprintf(w, "    %q*) words=%q ;;\n", c[0]+" ", c[1])
	}
	fmt.Fprintf(w, "    *) words=%q ;;\n", strings.Join(topWords(app), " "))
}

func writeBash(w io.Writer, app *cli.App) {
	fmt.Fprint(w, `# bash completion for ifmatch. Install it as /usr/share/bash-completion/completions/ifmatch
_ifmatch() {
  local words current="${COMP_WORDS[COMP_CWORD]}"
  local before="${COMP_WORDS[*]:1:COMP_CWORD-1} "
  case "$before" in
`)
	writeCases(w, app)
	fmt.Fprint(w, `  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o default -F _ifmatch ifmatch
`)
}

func writeZsh(w io.Writer, app *cli.App) {
	fmt.Fprint(w, `#compdef ifmatch
# zsh completion for ifmatch. Install it as _ifmatch in a directory of $fpath.
_ifmatch() {
  local before="${(j: :)words[2,CURRENT-1]} "
  local words
  case "$before" in
`)
	writeCases(w, app)
	fmt.Fprint(w, `  esac
  compadd -- ${(s: :)words}
  _files
}
_ifmatch "$@"
`)
}

func writeFish(w io.Writer, app *cli.App) {
	fmt.Fprintln(w, "# fish completion for ifmatch. Install it as /usr/share/fish/vendor_completions.d/ifmatch.fish")
	for _, c := range told(app.Commands) {
		fmt.Fprintf(w, "complete -c ifmatch -n __fish_use_subcommand -f -a %s -d %s\n", c.Name, fishText(c.Usage))
	}
	fmt.Fprintf(w, "complete -c ifmatch -n '__fish_seen_subcommand_from %s' -f -a '%s'\n",
		completionName, strings.Join(shells, " "))
	everyCommand(app, func(path string, c *cli.Command) {
		condition := "__fish_seen_subcommand_from " + strings.ReplaceAll(path, " ", "; and __fish_seen_subcommand_from ")
		for _, below := range commandsOf(c) {
			fmt.Fprintf(w, "complete -c ifmatch -n %s -f -a %s -d %s\n", fishText(condition), below.Name, fishText(below.Usage))
		}
		for _, f := range c.Flags {
			documented, ok := f.(cli.DocGenerationFlag)
			if !ok || f.Names()[0] == "help" {
				continue
			}
			value := ""
			if documented.TakesValue() {
				value = " -r"
			}
			before, placeholder, after := cutPlaceholder(documented.GetUsage())
			if !strings.Contains(documented.GetUsage(), "`") {
				placeholder = ""
			}
			fmt.Fprintf(w, "complete -c ifmatch -n %s -l %s%s -d %s\n", fishText(condition), f.Names()[0], value,
				fishText(strings.TrimSpace(before+placeholder+after)))
		}
	})
}

// fishText quotes a text for fish.
func fishText(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
