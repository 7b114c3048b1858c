package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v2"

	"ifmatch/internal/duration"
)

func configCommand(misused cli.OnUsageErrorFunc) *cli.Command {
	all := group(misused, "config", "check a configuration file, or show the settings that are in force",
		&cli.Command{
			Name: "check", Usage: "say whether a server can start with a configuration file", ArgsUsage: "FILE [DIR]",
			OnUsageError: misused, Action: checkConfig,
		},
		&cli.Command{
			Name: "show", Usage: "show what ifmatch serve would do with the same flags, and whence each setting is",
			ArgsUsage: "[DIR]", Flags: serveFlags(), OnUsageError: misused, Action: showConfig,
		})
	all.Description = "The table [serve] of the file has a key for each option of ifmatch serve, and dir for DIR."
	return all
}

// checkConfig does with a file what a server does before it listens, without the environment of this process.
func checkConfig(c *cli.Context) error {
	if c.NArg() != 1 && c.NArg() != 2 {
		return usagef("write ifmatch config check FILE, or ifmatch config check FILE DIR")
	}
	file := c.Args().First()
	var cfg Config
	var settings *fileSettings
	app := &cli.App{
		Flags: withoutVariables(serveFlags()), Writer: c.App.Writer, ErrWriter: c.App.ErrWriter,
		ExitErrHandler: func(*cli.Context, error) {},
		Action:         func(c *cli.Context) (err error) { cfg, settings, err = effectiveConfig(c); return err },
	}
	if err := app.RunContext(c.Context, append([]string{"serve", "--config", file, "--"}, c.Args().Tail()...)); err != nil {
		return err
	}
	var notes []string
	if settings.dir == "" && c.NArg() == 1 && !cfg.Memory {
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
		return fmt.Errorf("a server cannot start with %s: %w", file, err)
	}
	found, err := tryStart(c.Context, cfg, p)
	if err != nil {
		return fmt.Errorf("a server cannot start with %s: %w", file, err)
	}
	for _, note := range append(notes, found...) {
		fmt.Fprintf(c.App.Writer, "note: %s\n", note)
	}
	fmt.Fprintf(c.App.Writer, "%s can be used: %d settings of serve\n", file, len(settings.flags))
	return nil
}

// withoutVariables returns flags that are not read from the environment.
func withoutVariables(flags []cli.Flag) []cli.Flag {
	for _, f := range flags {
		switch f := f.(type) {
		case *cli.StringFlag:
			f.EnvVars = nil
		case *cli.PathFlag:
			f.EnvVars = nil
		case *cli.BoolFlag:
			f.EnvVars = nil
		case *cli.IntFlag:
			f.EnvVars = nil
		case *cli.StringSliceFlag:
			f.EnvVars = nil
		case *cli.GenericFlag:
			f.EnvVars = nil
		}
	}
	return flags
}

// showConfig prints a table [serve] that means the same, with the origin of each setting.
func showConfig(c *cli.Context) error {
	given := map[string]bool{}
	arguments := c.Lineage()[1].Args().Tail() // as they stand behind "show"
	scratch := &cli.App{
		Flags: withoutVariables(serveFlags()), Writer: c.App.Writer, ErrWriter: c.App.ErrWriter,
		Action: func(c *cli.Context) error {
			for _, name := range c.LocalFlagNames() {
				given[name] = true
			}
			return nil
		},
	}
	if err := scratch.RunContext(c.Context, append([]string{"serve"}, arguments...)); err != nil {
		return err
	}
	inEnvironment := map[string]bool{}
	for _, f := range serveFlags() {
		inEnvironment[f.Names()[0]] = c.IsSet(f.Names()[0])
	}
	cfg, settings, err := effectiveConfig(c)
	if err != nil {
		return err
	}
	origin := func(name string) string {
		_, inFile := settings.flags[name]
		switch {
		case given[name]:
			return "flag"
		case inEnvironment[name]:
			return "environment: " + env(name)[0]
		case inFile:
			return "file: " + settings.file
		}
		return "default"
	}
	dirOrigin := "default"
	if c.Args().Present() {
		dirOrigin = "argument"
	} else if settings.dir != "" {
		dirOrigin = "file: " + settings.file
	}
	fmt.Fprintf(c.App.Writer, "[%s]\n", serveTable)
	if dir, err := filepath.Abs(cfg.Dir); err == nil {
		cfg.Dir = dir
	}
	if err := printSetting(c, dirKey, cfg.Dir, dirOrigin); err != nil {
		return err
	}
	for _, f := range serveFlags() {
		name := f.Names()[0]
		if name == configFlag {
			continue
		}
		if err := printSetting(c, name, settingOf(c, f), origin(name)); err != nil {
			return err
		}
	}
	return nil
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

func printSetting(c *cli.Context, name string, value any, origin string) error {
	line, err := toml.Marshal(map[string]any{name: value})
	if err == nil {
		_, err = fmt.Fprintf(c.App.Writer, "%-40s # %s\n", strings.TrimSpace(string(line)), origin)
	}
	return err
}
