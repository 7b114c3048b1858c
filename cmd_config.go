package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v2"

	"ifmatch/auth"
	"ifmatch/internal/duration"
	"ifmatch/shares/layout"
)

func configCommand(misused cli.OnUsageErrorFunc) *cli.Command {
	all := group(misused, "config", "check a configuration file, or show the settings that are in force",
		&cli.Command{
			Name: "check", Usage: "say whether a server can start with a configuration file", ArgsUsage: "FILE",
			OnUsageError: misused, Action: checkConfig,
		},
		&cli.Command{
			Name: "show", Usage: "show what ifmatch serve would do with the same flags, and whence each setting is",
			ArgsUsage: "[DIR]", Flags: serveFlags(), OnUsageError: misused, Action: showConfig,
		})
	all.Description = "The table [serve] of the file has a key for each option of ifmatch serve, and dir for DIR. " +
		"Each table [[share]] has a path and a dir, which is served there in place of DIR."
	return all
}

// checkConfig reads a file as a server does, without the environment of this process.
func checkConfig(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("write ifmatch config check FILE")
	}
	file := c.Args().First()
	var cfg Config
	var settings *fileSettings
	app := &cli.App{
		Flags: withoutVariables(serveFlags()), Writer: c.App.Writer, ErrWriter: c.App.ErrWriter,
		ExitErrHandler: func(*cli.Context, error) {},
		Action:         func(c *cli.Context) (err error) { cfg, settings, err = effectiveConfig(c); return err },
	}
	if err := app.RunContext(c.Context, []string{"serve", "--config", file}); err != nil {
		return err
	}
	cfg.Auth.Alike = alike
	if _, err := auth.Open(cfg.Auth); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s can be used: %d settings of serve", file, len(settings.flags))
	if n := len(settings.shares); n > 0 {
		fmt.Fprintf(c.App.Writer, ", %d shares", n)
	}
	fmt.Fprintln(c.App.Writer)
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
	if len(cfg.Shares) == 0 {
		if dir, err := filepath.Abs(cfg.Dir); err == nil {
			cfg.Dir = dir
		}
		if err := printSetting(c, dirKey, cfg.Dir, dirOrigin); err != nil {
			return err
		}
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
	return printShares(c, cfg.Shares, "file: "+settings.file)
}

func printShares(c *cli.Context, all []layout.Share, origin string) error {
	for _, share := range all {
		fmt.Fprintf(c.App.Writer, "\n[[%s]]\n", shareTable)
		err := printSetting(c, "path", "/"+share.Path, origin)
		if err == nil {
			err = printSetting(c, dirKey, share.Dir, origin)
		}
		if err != nil {
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
