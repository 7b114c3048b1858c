package manual

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Completion scripts offer the commands, and behind a command its flags and files.

// CompletionName is the command that prints the scripts. [Shells] are its possible arguments.
const CompletionName = "completion"

// Shells have a script each.
var Shells = []string{"bash", "zsh", "fish"}

// wordsAfter returns the words that may follow a command: its subcommands or its flags.
func wordsAfter(c *cli.Command) (words []string) {
	for _, below := range Below(c) {
		words = append(words, below.Name)
	}
	if c.Name == CompletionName {
		words = append(words, Shells...)
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
	Each(app, func(path string, c *cli.Command) {
		cases = append(cases, [2]string{path, strings.Join(wordsAfter(c), " ")})
	})
	slices.SortStableFunc(cases, func(a, b [2]string) int { return strings.Count(b[0], " ") - strings.Count(a[0], " ") })
	for _, c := range cases {
		fmt.Fprintf(w, "    %q*) words=%q ;;\n", c[0]+" ", c[1])
	}
	fmt.Fprintf(w, "    *) words=%q ;;\n", strings.Join(topWords(app), " "))
}

// Bash writes the script for bash.
func Bash(w io.Writer, app *cli.App) {
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

// Zsh writes the script for zsh.
func Zsh(w io.Writer, app *cli.App) {
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

// Fish writes the script for fish.
func Fish(w io.Writer, app *cli.App) {
	fmt.Fprintln(w, "# fish completion for ifmatch. Install it as /usr/share/fish/vendor_completions.d/ifmatch.fish")
	for _, c := range told(app.Commands) {
		fmt.Fprintf(w, "complete -c ifmatch -n __fish_use_subcommand -f -a %s -d %s\n", c.Name, fishText(c.Usage))
	}
	fmt.Fprintf(w, "complete -c ifmatch -n '__fish_seen_subcommand_from %s' -f -a '%s'\n",
		CompletionName, strings.Join(Shells, " "))
	Each(app, func(path string, c *cli.Command) {
		condition := "__fish_seen_subcommand_from " + strings.ReplaceAll(path, " ", "; and __fish_seen_subcommand_from ")
		for _, below := range Below(c) {
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
