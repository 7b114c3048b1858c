package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ifmatch/listen"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v2"

	"ifmatch/shares/layout"
)

// The table [serve] of the configuration file has a key for each flag of serve, and dir for DIR. Each table [[share]]
// is a directory with a path of its own, in place of DIR. Package auth reads the rest of the file. A flag counts before
// its variable, that before the file, and that before the default.

// serveTable is the name of the table, and dirKey that of the key for DIR.
const (
	serveTable = "serve"
	dirKey     = "dir"
	shareTable = "share"
	configFlag = "config" // names the file, so it cannot be in it
)

// maxConfigFile bounds the file, in bytes.
const maxConfigFile = 1 << 20

// fileSettings are the values in the table.
type fileSettings struct {
	file  string              // its name ("": there is no file)
	flags map[string][]string // the values of flags
	dir   string              // "" if the key is missing
	alone bool                // the file has no other key, so it has no users and no rules
	text  string              // the whole file
	rest  map[string]any      // the other keys, about users and rules
	// the tables of shares
	shares []layout.Share
}

// readSettings reads the table of a file. Each error names the line.
func readSettings(file string) (*fileSettings, error) {
	s := &fileSettings{file: file, flags: map[string][]string{}}
	if file == "" {
		return s, nil
	}
	text, err := readBounded(file)
	if err != nil {
		return nil, fmt.Errorf("--config cannot be read: %w", err)
	}
	return parseSettings(file, text)
}

// parseSettings is readSettings of a file that was read.
func parseSettings(file, text string) (*fileSettings, error) {
	s := &fileSettings{file: file, text: text, flags: map[string][]string{}}
	content, err := decode(file, text)
	if err != nil {
		return nil, err
	}
	table, isTable := content[serveTable].(map[string]any)
	if content[serveTable] != nil && !isTable {
		return nil, fmt.Errorf("%s cannot be used: write %s as a table: [%s]", file, serveTable, serveTable)
	}
	others := maps.Clone(content)
	delete(others, serveTable)
	delete(others, shareTable)
	s.rest = others
	s.alone = len(content) > 0 && len(others) == 0
	if err := s.readShares(text, content); err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(table)) {
		if err := s.set(key, table[key]); err != nil {
			return nil, fmt.Errorf("%s cannot be used: line %d: %w", file, lineOfKey(text, key), err)
		}
	}
	return s, nil
}

// decode returns the content of a file with this text.
func decode(file, text string) (content map[string]any, err error) {
	if _, err := toml.Decode(text, &content); err != nil {
		syntax := new(toml.ParseError)
		if errors.As(err, syntax) {
			err = fmt.Errorf("line %d: %s", syntax.Position.Line, strings.TrimPrefix(syntax.Message, "toml: "))
		}
		return nil, fmt.Errorf("%s cannot be used: %w", file, err)
	}
	return content, nil
}

// readShares reads the tables of shares.
func (s *fileSettings) readShares(text string, content map[string]any) (err error) {
	absolute := func(name string) string {
		dir := s.path(name)
		if abs, err := filepath.Abs(dir); err == nil {
			return abs
		}
		return dir
	}
	if s.shares, err = layout.Parse(content[shareTable], text, absolute); err != nil {
		return fmt.Errorf("%s cannot be used: %w", s.file, err)
	}
	return nil
}

// readBounded reads a file that is not too large.
func readBounded(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err == nil && len(data) > maxConfigFile {
		err = fmt.Errorf("it is larger than %d bytes", maxConfigFile)
	}
	return string(data), err
}

// set takes a key and its value.
func (s *fileSettings) set(key string, value any) error {
	if key == dirKey {
		dir, ok := value.(string)
		if !ok || dir == "" {
			return errors.New("dir: write a path in quotation marks")
		}
		s.dir = s.path(dir)
		return nil
	}
	i := slices.IndexFunc(serveFlags(), func(f cli.Flag) bool { return f.Names()[0] == key })
	if i < 0 || key == configFlag {
		return fmt.Errorf("the key %q is not known: use dir, or the name of a flag of ifmatch serve without its hyphens", key)
	}
	flag := serveFlags()[i]
	values, err := valuesOf(flag, value)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if _, ok := flag.(*cli.PathFlag); ok {
		values[0] = s.path(values[0])
	} else if path, ok := strings.CutPrefix(strings.Join(values, ""), listen.UnixPrefix); ok {
		values[0] = listen.UnixPrefix + s.path(path)
	}
	s.flags[key] = values
	return nil
}

// path returns a path of the file, which is relative to the directory of the file.
func (s *fileSettings) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(s.file), name)
}

// valuesOf returns the values of a flag as the command line has them.
func valuesOf(flag cli.Flag, value any) ([]string, error) {
	switch flag.(type) {
	case *cli.BoolFlag:
		if yes, ok := value.(bool); ok {
			return []string{strconv.FormatBool(yes)}, nil
		}
		return nil, errors.New("write true or false, without quotation marks")
	case *cli.IntFlag:
		if n, ok := value.(int64); ok {
			return []string{strconv.FormatInt(n, 10)}, nil
		}
		return nil, errors.New("write a whole number, without quotation marks")
	case *cli.StringSliceFlag:
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		values := []string{} // none is a value, too
		for _, one := range list {
			text, ok := one.(string)
			if !ok {
				return nil, errors.New(`write a list of texts, such as ["a", "b"]`)
			}
			values = append(values, text)
		}
		return values, nil
	}
	if text, ok := value.(string); ok {
		return []string{text}, nil
	}
	return nil, errors.New("write a text in quotation marks")
}

// applyTo sets those flags that neither the command line nor the environment has.
func (s *fileSettings) applyTo(c *cli.Context) error {
	for _, name := range slices.Sorted(maps.Keys(s.flags)) {
		if c.IsSet(name) {
			continue
		}
		for _, value := range s.flags[name] {
			if err := c.Set(name, value); err != nil {
				return fmt.Errorf("%s cannot be used: %s = %q: %w", s.file, name, value, err)
			}
		}
	}
	return nil
}

// effectiveConfig makes a Config of the flags, the environment and the configuration file. dir is the value of the
// variable for DIR ("": not set), which counts after an argument and before the file.
func effectiveConfig(c *cli.Context, dir string) (Config, *fileSettings, error) {
	settings, err := readSettings(c.Path(configFlag))
	fixed := fixedLimits(c)
	if err == nil {
		err = settings.applyTo(c)
	}
	if err != nil {
		return Config{}, nil, err
	}
	cfg, err := configOf(c)
	if err != nil {
		return Config{}, nil, err
	}
	if dir = cmp.Or(dir, settings.dir); dir != "" && !c.Args().Present() {
		if cfg.Memory {
			return Config{}, nil, usagef("--memory serves no directory: leave out %q, or --memory", dir)
		}
		cfg.Dir = dir
	}
	if len(settings.shares) > 0 {
		if err := settings.share(&cfg, c.Args().First()); err != nil {
			return Config{}, nil, err
		}
	}
	cfg.ConfigFile, cfg.settings, cfg.fixedLimits = settings.file, settings, fixed
	if settings.alone {
		cfg.Auth.Config = "" // else rules would decide, and there are none
	}
	return cfg, settings, nil
}

// share has a server serve the shares in place of one directory. dir is the argument of the command line.
func (s *fileSettings) share(cfg *Config, dir string) error {
	switch {
	case dir != "":
		return usagef("%s has shares, so there is no DIR: leave out %q, or add a share for it", s.file, dir)
	case s.dir != "":
		return usagef("%s has shares, so there is no dir: leave it out, or make it a share", s.file)
	case cfg.Memory:
		return usagef("--memory serves no directory, and %s has shares: leave out one of them", s.file)
	}
	cfg.Dir, cfg.Shares = "", s.shares
	return s.checkShares()
}

// checkShares refuses shares that would serve the same path or file.
func (s *fileSettings) checkShares() error {
	if err := layout.Check(s.shares, alike); err != nil {
		return fmt.Errorf("%s cannot be used: %w", s.file, err)
	}
	return nil
}

// lineOfKey returns the line of a key of the table, or that of the table where the key is written in another way.
func lineOfKey(text, key string) int {
	at := 1
	header := regexp.MustCompile(`^\s*\[\s*` + serveTable + `\s*\]`)
	wanted := regexp.MustCompile(`^\s*["']?` + regexp.QuoteMeta(key) + `["']?\s*=`)
	inside := false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case header.MatchString(line):
			inside, at = true, i+1
		case strings.HasPrefix(strings.TrimSpace(line), "["):
			inside = false
		case inside && wanted.MatchString(line):
			return i + 1
		}
	}
	return at
}
