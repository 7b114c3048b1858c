// Package helptext prints the help of commands of package cli, with the description of each flag below its name.
package helptext

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"
)

// flagsTemplate is the help of a command. It differs from the template of package cli in the description of a flag,
// which stands below its name instead of beside it.
const flagsTemplate = `NAME:
   {{template "helpNameTemplate" .}}

USAGE:
   {{template "usageTemplate" .}}{{if .Description}}

DESCRIPTION:
   {{template "descriptionTemplate" .}}{{end}}

OPTIONS:
{{range .VisibleFlags}}{{flagHelp .}}{{end}}`

// groupTemplate is the help of a command that has commands of its own, and no options.
const groupTemplate = `NAME:
   {{template "helpNameTemplate" .}}

USAGE:
   {{.HelpName}} COMMAND{{if .Description}}

DESCRIPTION:
   {{template "descriptionTemplate" .}}{{end}}

COMMANDS:{{template "visibleCommandCategoryTemplate" .}}
`

var setHelp sync.Once

// Use makes package cli print help in this form.
func Use() {
	setHelp.Do(func() {
		cli.HelpPrinter, cli.CommandHelpTemplate, cli.SubcommandHelpTemplate = printHelp, flagsTemplate, groupTemplate
	})
}

// printHelp prints help in lines of at most [Width] columns.
func printHelp(w io.Writer, template string, data any) {
	cli.HelpPrinterCustom(w, template, data, map[string]any{
		"flagHelp": Flag,
		"wrapAt":   func() int { return Width },
	})
}

// Flag returns the help of a flag: its name, and its description in the lines below.
func Flag(f cli.Flag) string {
	documented, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	var b strings.Builder
	usage := documented.GetUsage()
	placeholder := ""
	if _, rest, found := strings.Cut(usage, "`"); found {
		placeholder, _, _ = strings.Cut(rest, "`")
	}
	names := f.Names()
	b.WriteString("   --" + names[0])
	for _, other := range names[1:] {
		b.WriteString(", -" + other)
	}
	if documented.TakesValue() {
		if placeholder == "" {
			placeholder = "VALUE"
		}
		b.WriteString(" " + placeholder)
	}
	for _, variable := range documented.GetEnvVars() {
		b.WriteString("  [$" + variable + "]")
	}
	usage = strings.ReplaceAll(usage, "`", "")
	if text := documented.GetDefaultText(); documented.TakesValue() && text != "" && !strings.Contains(usage, "(default") {
		usage += " (default: " + text + ")"
	}
	b.WriteString("\n" + wrapped(usage, "        ", Width))
	return b.String()
}

// Width bounds the lines of help, in columns, except those of one longer word.
const Width = 96

// wrapped breaks a text into lines that begin with an indent.
func wrapped(text, indent string, width int) string {
	var b strings.Builder
	line := indent
	for _, word := range strings.Fields(text) {
		if line != indent && len(line)+1+len(word) > width {
			fmt.Fprintln(&b, line)
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	fmt.Fprintln(&b, line)
	return b.String()
}
