package main

import (
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/crypto/acme"

	"r-seed-1f3a754f.example/ifmatch/internal/duration"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/settings"
)

// A partner is a flag that says nothing without one of some others.
type partner struct {
	flag string
	with []string
}

// partners are those of all commands. A row counts in each command that has the flag and the first of the others.
var partners = []partner{
	{"blobs", []string{"store"}},
	{"blob-grace", []string{"store"}},
	{"verify", []string{"store"}},
	{"fix", []string{"store"}},
	{"rate", []string{"verify"}},
	{"replace", []string{"into"}},
	{"dry-run", []string{"at"}},
	{"old-hashes", []string{"users", "config"}}, // a configuration file may name the users
	{"insecure-basic", []string{"users", "config"}},
	{"user-header-from", []string{"user-header"}},
	{"user-header-new", []string{"user-header"}},
	{"groups-header", []string{"user-header"}},
	{"acme-directory", []string{"acme"}},
	{"acme-ca", []string{"acme"}},
	{"acme-email", []string{"acme"}},
	{"publish-grace", []string{"site"}},
}

// standards are the values of flags with partners that say nothing, besides those that are empty.
var standards = map[string]string{
	"blob-grace":     duration.Short(pgstore.DefaultBlobGrace),
	"acme-directory": acme.LetsEncryptURL,
}

// checkPartners refuses a flag of a command whose partner is not there. has are flags for which something else stands.
func checkPartners(c *cli.Context, flags []cli.Flag, has ...string) error {
	find := func(name string) cli.Flag {
		for _, f := range flags {
			if f.Names()[0] == name {
				return f
			}
		}
		return nil
	}
	says := func(name string) bool {
		if !c.IsSet(name) {
			return false
		}
		switch value := reflect.ValueOf(settingOf(c, find(name))); value.Kind() {
		case reflect.String:
			return !slices.Contains([]string{"", "0", "0s", standards[name]}, value.String())
		case reflect.Slice:
			return value.Len() > 0
		default:
			return !value.IsZero()
		}
	}
	for _, one := range partners {
		isThere := func(name string) bool { return find(name) != nil && (slices.Contains(has, name) || says(name)) }
		if find(one.flag) == nil || find(one.with[0]) == nil || !says(one.flag) || slices.ContainsFunc(one.with, isThere) {
			continue
		}
		return usagef("--%s belongs to --%s: give both, or neither", one.flag, strings.Join(one.with, " or --"))
	}
	return nil
}

// withPartners has commands check the partners of their flags first. Those with a configuration file do so when they have
// read it: it may have the partner.
func withPartners(commands []*cli.Command) []*cli.Command {
	for _, one := range commands {
		withPartners(one.Subcommands)
		flags, action := one.Flags, one.Action
		if action == nil || slices.ContainsFunc(flags, func(f cli.Flag) bool { return f.Names()[0] == settings.ConfigFlag }) {
			continue
		}
		one.Action = func(c *cli.Context) error {
			if err := checkPartners(c, flags); err != nil {
				return err
			}
			return action(c)
		}
	}
	return commands
}

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
