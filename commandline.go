package main

import (
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst moves the operands of a command behind its flags: urfave/cli v2 expects them there, and people write them
// anywhere.
func flagsFirst(commands []*cli.Command, args []string) []string {
	command, words := commandOf(commands, args)
	if command == nil || len(command.Subcommands) > 0 {
		return args
	}
	alone := map[string]bool{"help": true, "h": true}
	for _, flag := range command.Flags {
		if _, ok := flag.(*cli.BoolFlag); ok {
			alone[flag.Names()[0]] = true
		}
	}
	flags, operands := append([]string(nil), args[:words]...), []string(nil)
	for rest := args[words:]; len(rest) > 0; rest = rest[1:] {
		name := strings.TrimLeft(rest[0], "-")
		switch {
		case rest[0] == "--":
			operands = append(operands, rest[1:]...)
			rest = rest[:1]
		case rest[0] == "-" || name == rest[0]:
			operands = append(operands, rest[0])
		case alone[name] || strings.Contains(name, "="):
			flags = append(flags, rest[0])
		case len(rest) == 1:
			return append(flags, rest[0]) // package cli refuses it, as it has no value
		default:
			flags = append(flags, rest[0], rest[1])
			rest = rest[1:]
		}
	}
	if len(operands) == 0 {
		return flags
	}
	return append(append(flags, "--"), operands...)
}

// commandOf returns the command that a command line begins with, and how many words that are. It is nil if there is none.
func commandOf(commands []*cli.Command, args []string) (found *cli.Command, words int) {
	for words = 1; words < len(args); words++ {
		below := (*cli.Command)(nil)
		for _, c := range commands {
			if c.HasName(args[words]) {
				below = c
			}
		}
		if below == nil {
			break
		}
		found, commands = below, below.Subcommands
	}
	return found, words
}

// The errors of packages flag and cli about a command line.
var (
	notAFlag    = regexp.MustCompile(`^flag provided but not defined: -+(\S+)$`)
	lacksAValue = regexp.MustCompile(`^flag needs an argument: -+(\S+)$`)
	wrongValue  = regexp.MustCompile(`^invalid (boolean )?value (".*") for (?:flag )?-(\S+): (.*)$`)
	wrongInEnv  = regexp.MustCompile(`^could not parse (".*?") (?:as (int|bool) value )?from environment variable "(\S+)" ` +
		`(?:as value )?for flag \S+: (.*)$`)
)

// misuse words an error of package cli as this program words its own.
func misuse(err error) string {
	text := err.Error()
	if found := notAFlag.FindStringSubmatch(text); found != nil {
		return "there is no flag --" + found[1]
	}
	if found := lacksAValue.FindStringSubmatch(text); found != nil {
		return "--" + found[1] + " needs a value"
	}
	flag, value, kind, why := "", "", "", ""
	if found := wrongValue.FindStringSubmatch(text); found != nil {
		kind, value, flag, why = found[1], found[2], "--"+found[3], found[4]
	} else if found := wrongInEnv.FindStringSubmatch(text); found != nil {
		value, kind, flag, why = found[1], found[2], found[3], found[4]
	} else {
		return text
	}
	switch {
	case strings.HasPrefix(kind, "bool"):
		why = "write true or false"
	case kind == "int" || why == "parse error" || why == "value out of range":
		why = "write a whole number"
	}
	return flag + " " + value + ": " + why
}
