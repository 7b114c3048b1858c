// Package manual makes the manual page and the completion scripts of a program from its own help.
package manual

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// told returns the commands that the help lists. Package cli adds a help command to each command that it runs.
func told(all []*cli.Command) []*cli.Command {
	return slices.DeleteFunc(slices.Clone(all), func(c *cli.Command) bool { return c.Hidden || c.Name == "help" })
}

// Below returns the commands below a command.
func Below(c *cli.Command) []*cli.Command { return told(c.Subcommands) }

// Each calls do with each command and its path below the program, such as "history list".
func Each(app *cli.App, do func(path string, c *cli.Command)) {
	var visit func(above string, all []*cli.Command)
	visit = func(above string, all []*cli.Command) {
		for _, c := range told(all) {
			path := strings.TrimSpace(above + " " + c.Name)
			do(path, c)
			visit(path, c.Subcommands)
		}
	}
	visit("", app.Commands)
}

// Write writes the manual page in the macros of man(7).
func Write(w io.Writer, app *cli.App) {
	fmt.Fprintf(w, ".TH IFMATCH 1 \"\" \"ifmatch %s\" \"User Commands\"\n", roff(app.Version))
	fmt.Fprint(w, ".nh\n.ad l\n") // a name of a variable has no hyphen in it
	fmt.Fprintf(w, ".SH NAME\nifmatch \\- %s\n", roff(app.Usage))
	fmt.Fprintf(w, ".SH SYNOPSIS\n.B ifmatch\n.I COMMAND\n[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...\n.SH COMMANDS\n")
	Each(app, func(path string, c *cli.Command) {
		operands := c.ArgsUsage
		if len(Below(c)) > 0 {
			operands = "COMMAND"
		}
		fmt.Fprintf(w, ".SS ifmatch %s %s\n%s.\n", roff(path), roff(operands), roff(strings.TrimSuffix(c.Usage, ".")))
		if c.Description != "" {
			fmt.Fprintf(w, ".PP\n%s\n", roffLines(c.Description))
		}
		for _, f := range c.Flags {
			writeManualFlag(w, f)
		}
	})
	fmt.Fprintf(w, ".SH ENVIRONMENT\nEach option of \\fBifmatch serve\\fR can be a variable: \\fB\\-\\-addr\\fR is "+
		"\\fBIFMATCH_ADDR\\fR. An option counts before its variable.\n")
	fmt.Fprintf(w, ".SH EXIT STATUS\n0: success. 1: failure, or a comparison has found differences. "+
		"2: a wrong command line, or a comparison has failed.\n")
	fmt.Fprintf(w, ".SH SIGNALS\nSIGTERM and SIGINT stop a server in order, a second one kills it. "+
		"SIGHUP has it read its files anew.\n")
}

func writeManualFlag(w io.Writer, f cli.Flag) {
	documented, ok := f.(cli.DocGenerationFlag)
	if !ok || f.Names()[0] == "help" {
		return
	}
	usage := documented.GetUsage()
	before, value, after := cutPlaceholder(usage)
	fmt.Fprintf(w, ".TP\n\\fB\\-\\-%s\\fR", roff(f.Names()[0]))
	if documented.TakesValue() {
		fmt.Fprintf(w, " \\fI%s\\fR", roff(value))
	}
	text := before + value + after
	if !documented.TakesValue() {
		text = usage
	}
	usual := documented.GetDefaultText()
	if documented.TakesValue() && usual != "" && !strings.Contains(text, "(default") {
		text += " (default: " + usual + ")"
	}
	for _, variable := range documented.GetEnvVars() {
		text += " [$" + variable + "]"
	}
	fmt.Fprintf(w, "\n%s\n", roffLines(text))
}

// cutPlaceholder splits the usage of a flag around the name of its value, which stands between backquotes.
func cutPlaceholder(usage string) (before, value, after string) {
	before, rest, found := strings.Cut(usage, "`")
	if !found {
		return usage + " ", "VALUE", ""
	}
	value, after, _ = strings.Cut(rest, "`")
	return before, value, after
}

// roff escapes a text within a line.
func roff(s string) string { return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`).Replace(s) }

// roffLines escapes lines, so that none looks like a macro. Each is a paragraph.
func roffLines(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if b.Len() > 0 {
			b.WriteString(".PP\n")
		}
		if line = roff(strings.TrimSpace(line)); strings.HasPrefix(line, ".") {
			b.WriteString(`\&`)
		}
		b.WriteString(line + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
