package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/internal/duration"
	"r-seed-1f3a754f.example/ifmatch/internal/helptext"
	"r-seed-1f3a754f.example/ifmatch/internal/manual"
	"r-seed-1f3a754f.example/ifmatch/settings"
)

func configCommand(misused cli.OnUsageErrorFunc) *cli.Command {
	return helptext.Group(misused, "config", "check a configuration file, or show the settings that are in force",
		"The table [serve] of the file has a key for each option of ifmatch serve, and dir for DIR. "+
			"Each table [[share]] has a path and a dir, which is served there in place of DIR.",
		&cli.Command{
			Name: "check", Usage: "say whether a server can start with a configuration file", ArgsUsage: "FILE [DIR]",
			OnUsageError: misused, Action: checkConfig,
		},
		&cli.Command{
			Name: "show", Usage: "show what ifmatch serve would do with the same flags, and whence each setting is",
			ArgsUsage: "[DIR]", Flags: serveFlags(), OnUsageError: misused, Action: showConfig,
		})
}

// checkConfig takes with a file the steps of a server before it listens, without the environment of this process.
func checkConfig(c *cli.Context) error {
	if c.NArg() != 1 && c.NArg() != 2 {
		return usagef("write ifmatch config check FILE, or ifmatch config check FILE DIR")
	}
	name := c.Args().First()
	var cfg Config
	var file *settings.File
	app := &cli.App{
		Flags: withoutVariables(serveFlags()), Writer: c.App.Writer, ErrWriter: c.App.ErrWriter,
		ExitErrHandler: func(*cli.Context, error) {},
		Action:         func(c *cli.Context) (err error) { cfg, file, err = effectiveConfig(c, ""); return err },
	}
	if err := app.RunContext(c.Context, append([]string{"serve", "--config", name, "--"}, c.Args().Tail()...)); err != nil {
		return err
	}
	var notes []string
	if file.Dir == "" && len(file.Shares) == 0 && c.NArg() == 1 && !cfg.hasNoDir() {
		empty, err := os.MkdirTemp("", "ifmatch-check-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(empty)
		cfg.Dir = empty
		notes = append(notes, "neither the file nor this command names a directory, so none was looked at")
	}
	p, err := prepare(c.Context, &cfg)
	if err != nil {
		return fmt.Errorf("a server cannot start with %s: %w", name, err)
	}
	found, err := tryStart(c.Context, cfg, p)
	if err != nil {
		return fmt.Errorf("a server cannot start with %s: %w", name, err)
	}
	if cfg.Auth != nil {
		found = append(found, cfg.Auth.Now().Doubts()...)
	}
	for _, note := range append(notes, found...) {
		fmt.Fprintf(c.App.Writer, "note: %s\n", note)
	}
	fmt.Fprintf(c.App.Writer, "%s can be used: settings of serve: %d", name, len(file.Flags))
	for _, of := range []struct {
		kind string
		n    int
	}{{"shares", len(file.Shares)}, {"quotas", len(file.Quotas)}, {"sites", len(file.Sites)}} {
		if of.n > 0 {
			fmt.Fprintf(c.App.Writer, ", %s: %d", of.kind, of.n)
		}
	}
	fmt.Fprintln(c.App.Writer)
	return nil
}

// withoutVariables returns flags that are not read from the environment.
func withoutVariables(flags []cli.Flag) []cli.Flag {
	for _, f := range flags {
		reflect.ValueOf(f).Elem().FieldByName("EnvVars").SetZero() // which all types of flags have
	}
	return flags
}

// showConfig prints a configuration file that means the same, with the origin of each setting.
func showConfig(c *cli.Context) error {
	if err := settings.CheckEnvironment(os.Environ(), serveFlags()); err != nil {
		return err
	}
	origin, err := originsOf(c)
	if err != nil {
		return err
	}
	cfg, file, err := effectiveConfig(c, os.Getenv(settings.DirVariable))
	if err != nil {
		return err
	}
	users, tables, err := rulesOf(file, cfg)
	if err != nil {
		return err
	}
	var all strings.Builder
	show := func(name string, value any, whence string) {
		line, failed := toml.Marshal(map[string]any{name: value})
		err = errors.Join(err, failed)
		fmt.Fprintf(&all, "%-40s # %s\n", strings.TrimSpace(string(line)), whence)
	}
	for _, name := range slices.Sorted(maps.Keys(tables.values)) {
		show(name, tables.values[name], origin.file(file))
	}
	fmt.Fprintf(&all, "\n[%s]\n", settings.Table)
	if dir, err := filepath.Abs(cfg.Dir); err == nil {
		cfg.Dir = dir
	}
	if !cfg.hasNoDir() && len(cfg.Shares) == 0 {
		show(settings.DirKey, cfg.Dir, origin.dir(c, file))
	}
	for _, f := range serveFlags() {
		switch name := f.Names()[0]; {
		case name == settings.ConfigFlag:
		case name == usersFlag().Names()[0] && users != "":
			show(name, users, origin.file(file))
		default:
			show(name, settingOf(c, f), origin.of(name, file))
		}
	}
	showTables(&all, cfg, func(name string, value any) { show(name, value, origin.file(file)) })
	if len(file.Sites) > 0 {
		text, failed := toml.Marshal(file.SiteTables())
		err = errors.Join(err, failed)
		fmt.Fprintf(&all, "\n# %s\n%s", origin.file(file), text)
	}
	if len(tables.text) > 0 {
		fmt.Fprintf(&all, "\n# %s\n%s", origin.file(file), tables.text)
	}
	if err == nil {
		_, err = io.WriteString(c.App.Writer, strings.TrimPrefix(all.String(), "\n"))
	}
	return err
}

// showTables shows the shares and the quotas of a configuration.
func showTables(all *strings.Builder, cfg Config, show func(name string, value any)) {
	for _, share := range cfg.Shares {
		fmt.Fprintf(all, "\n[[%s]]\n", settings.ShareTable)
		show("path", "/"+share.Path)
		show(settings.DirKey, share.Dir)
	}
	for _, one := range cfg.Quotas {
		fmt.Fprintf(all, "\n[[%s]]\n", settings.QuotaTable)
		show("path", one.Path)
		show("size", strconv.FormatInt(one.Max, 10)+"B")
		show("history", one.History)
	}
}

// origins are where settings come from.
type origins struct {
	given     map[string]bool // on the command line
	variables map[string]bool // in the environment
}

// originsOf looks at the command line and the environment, before the file is applied.
func originsOf(c *cli.Context) (o origins, err error) {
	o = origins{given: map[string]bool{}, variables: map[string]bool{}}
	arguments := c.Lineage()[1].Args().Tail() // as they stand behind "show"
	scratch := &cli.App{
		Flags: withoutVariables(serveFlags()), Writer: c.App.Writer, ErrWriter: c.App.ErrWriter,
		Action: func(c *cli.Context) error {
			for _, name := range c.LocalFlagNames() {
				o.given[name] = true
			}
			return nil
		},
	}
	if err := scratch.RunContext(c.Context, append([]string{"serve"}, arguments...)); err != nil {
		return o, err
	}
	for _, f := range serveFlags() {
		o.variables[f.Names()[0]] = c.IsSet(f.Names()[0])
	}
	return o, nil
}

// of returns the origin of a flag.
func (o origins) of(name string, file *settings.File) string {
	_, inFile := file.Flags[name]
	switch {
	case o.given[name]:
		return "flag"
	case o.variables[name]:
		return "environment: " + env(name)[0]
	case inFile:
		return o.file(file)
	}
	return "default"
}

// dir returns the origin of DIR.
func (o origins) dir(c *cli.Context, file *settings.File) string {
	switch {
	case c.Args().Present():
		return "argument"
	case os.Getenv(settings.DirVariable) != "":
		return "environment: " + settings.DirVariable
	case file.Dir != "":
		return o.file(file)
	}
	return "default"
}

func (o origins) file(file *settings.File) string { return "file: " + file.Name }

// fileRules are the parts of a file beside [serve]: the keys above all tables, and the tables as they stand below
// [serve].
type fileRules struct {
	values map[string]any
	text   string
}

// rulesOf returns the rest of the file about users, groups and rules, and the users file that it names, unless a flag
// or a variable names another one.
func rulesOf(s *settings.File, cfg Config) (users string, r fileRules, err error) {
	if s.Name == "" || s.Alone {
		return "", r, nil
	}
	config, err := auth.ParseConfig(s.Text)
	if err != nil {
		return "", r, &auth.FileError{File: s.Name, Err: err}
	}
	if cfg.Access.Users == "" && config.Users != "" {
		if users, err = filepath.Abs(s.Path(config.Users)); err != nil {
			return "", r, err
		}
	}
	// A file without this key and without rules would have settings alone, and then each client may do everything.
	r.values = map[string]any{"rule-count": len(config.Rules)}
	tables := map[string]any{}
	for key, value := range s.Rest {
		switch value.(type) {
		case map[string]any, []map[string]any:
			tables[key] = value
		default:
			if key != "users" {
				r.values[key] = value
			}
		}
	}
	text, err := toml.Marshal(tables)
	r.text = string(text)
	return users, r, err
}

// settingOf returns the value of a flag as the file has it.
func settingOf(c *cli.Context, f cli.Flag) any {
	name := f.Names()[0]
	switch f.(type) {
	case *cli.BoolFlag:
		return c.Bool(name)
	case *cli.IntFlag:
		return c.Int(name)
	case *cli.StringSliceFlag:
		if all := c.StringSlice(name); len(all) > 0 {
			return all
		}
		return []string{}
	case *cli.PathFlag:
		if path := c.Path(name); path != "" {
			if whole, err := filepath.Abs(path); err == nil {
				return whole // in a file it would be relative to that
			}
		}
		return c.Path(name)
	case *cli.GenericFlag:
		return duration.Short(c.Duration(name))
	}
	return c.String(name)
}

// generateCommands print the manual page and the completion scripts, which are made of the program's own help.
func generateCommands(misused cli.OnUsageErrorFunc) []*cli.Command {
	return []*cli.Command{
		{
			Name: "man", Usage: "print the manual page ifmatch(1)", OnUsageError: misused, Before: noArgument,
			Action: func(c *cli.Context) error {
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
