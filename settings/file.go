// Package settings reads the flags of a program from a configuration file, beside the command line and the environment.
//
// The table [serve] of the file has a key for each flag, and dir for the directory. Each table [[share]] is a directory
// with a path of its own, in place of that one. Each table [[quota]] limits a path, and each [[site]] shows a path as a
// web site. Package auth reads the rest of the file. A flag counts before its variable, that before the file, and that
// before the default.
package settings

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/listen"
	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/shares/layout"
	"r-seed-1f3a754f.example/ifmatch/site"
)

// Names in the file.
const (
	Table      = "serve"  // the table
	DirKey     = "dir"    // its key for the directory
	ShareTable = "share"  // the tables of shares
	QuotaTable = "quota"  // the tables of quotas
	SiteTable  = "site"   // the tables of sites
	ConfigFlag = "config" // the flag that names the file, so it cannot be in it
)

// maxConfigFile bounds the file, in bytes.
const maxConfigFile = 1 << 20

// A File has the values of a configuration file.
type File struct {
	Name  string              // ("": there is no file)
	Flags map[string][]string // the values of flags
	Dir   string              // "" if the key is missing
	Alone bool                // the file has no other key, so it has no users and no rules
	Text  string              // the whole file
	Rest  map[string]any      // the other keys, about users and rules

	Shares []layout.Share
	Quotas []limits.Limit
	Sites  []site.Site

	known []cli.Flag
	sites any // the tables of sites as they are written
}

// Read reads a file with the values of some flags ("": none). Each error names the line.
func Read(file string, known []cli.Flag) (*File, error) {
	s := &File{Name: file, Flags: map[string][]string{}, known: known}
	if file == "" {
		return s, nil
	}
	text, err := Text(file)
	if err != nil {
		return nil, fmt.Errorf("--config cannot be read: %w", err)
	}
	return Parse(file, text, known)
}

// Parse is [Read] of a file with this text.
func Parse(file, text string, known []cli.Flag) (*File, error) {
	s := &File{Name: file, Text: text, Flags: map[string][]string{}, known: known}
	if err := s.parse(text); err != nil {
		return nil, s.unusable(err)
	}
	return s, nil
}

func (s *File) unusable(err error) error { return fmt.Errorf("%s cannot be used: %w", s.Name, err) }

func (s *File) parse(text string) (err error) {
	var content map[string]any
	if _, err := toml.Decode(text, &content); err != nil {
		syntax := new(toml.ParseError)
		if errors.As(err, syntax) {
			err = fmt.Errorf("line %d: %s", syntax.Position.Line, strings.TrimPrefix(syntax.Message, "toml: "))
		}
		return err
	}
	table, isTable := content[Table].(map[string]any)
	if content[Table] != nil && !isTable {
		return fmt.Errorf("write %s as a table: [%s]", Table, Table)
	}
	s.Rest = maps.Clone(content)
	for _, key := range []string{Table, ShareTable, QuotaTable, SiteTable} {
		delete(s.Rest, key)
	}
	s.Alone = len(content) > 0 && len(s.Rest) == 0
	absolute := func(name string) string {
		dir := s.Path(name)
		if abs, err := filepath.Abs(dir); err == nil {
			return abs
		}
		return dir
	}
	if s.Shares, err = layout.Parse(content[ShareTable], text, absolute); err != nil {
		return err
	}
	if s.Quotas, err = limits.Parse(content[QuotaTable], text); err != nil {
		return err
	}
	if s.Sites, err = site.Parse(content[SiteTable], text); err != nil {
		return err
	}
	s.sites = content[SiteTable]
	for _, key := range slices.Sorted(maps.Keys(table)) {
		if err := s.set(key, table[key]); err != nil {
			return fmt.Errorf("line %d: %w", lineOfKey(text, key), err)
		}
	}
	return nil
}

// SiteTables returns the tables of sites as they are written, below their key.
func (s *File) SiteTables() map[string]any { return map[string]any{SiteTable: s.sites} }

// CheckShares refuses shares that would serve the same path or file. alike reports whether a file system can take two
// paths for one.
func (s *File) CheckShares(alike func(a, b string) bool) error {
	if err := layout.Check(s.Shares, alike); err != nil {
		return s.unusable(err)
	}
	return nil
}

// Differ returns the keys whose values differ from those in another File, but for some flags.
func (s *File) Differ(now *File, except []cli.Flag) (keys []string) {
	excepted := map[string]bool{}
	for _, f := range except {
		excepted[f.Names()[0]] = true
	}
	for _, f := range s.known {
		name := f.Names()[0]
		was, is := s.Flags[name], now.Flags[name]
		if !excepted[name] && !(slices.Equal(was, is) && (was == nil) == (is == nil)) {
			keys = append(keys, name)
		}
	}
	if s.Dir != now.Dir {
		keys = append(keys, DirKey)
	}
	if !slices.Equal(s.Shares, now.Shares) {
		keys = append(keys, ShareTable)
	}
	if !reflect.DeepEqual(s.sites, now.sites) {
		keys = append(keys, SiteTable)
	}
	if s.Alone && !now.Alone {
		keys = append(keys, "users", "groups", "rule") // the server does not look for them in a file that had none of them
	}
	return keys
}

// Text returns the text of a file that is not too large.
func Text(name string) (string, error) {
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

// TextAgain is [Text] for a running server. It refuses a file that is not regular, because opening or reading a pipe
// can wait forever, and with it the reload of users, rules and certificates, and the end of the server.
func TextAgain(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file")
	}
	return Text(name)
}

// set takes a key and its value.
func (s *File) set(key string, value any) error {
	if key == DirKey {
		dir, ok := value.(string)
		if !ok || dir == "" {
			return errors.New("dir: write a path in quotation marks")
		}
		s.Dir = s.Path(dir)
		return nil
	}
	i := slices.IndexFunc(s.known, func(f cli.Flag) bool { return f.Names()[0] == key })
	if i < 0 || key == ConfigFlag {
		return fmt.Errorf("the key %q is not known: use dir, or the name of a flag of ifmatch serve without its hyphens", key)
	}
	flag := s.known[i]
	values, err := valuesOf(flag, value)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if _, ok := flag.(*cli.PathFlag); ok {
		values[0] = s.Path(values[0])
	} else if path, ok := strings.CutPrefix(strings.Join(values, ""), listen.UnixPrefix); ok {
		values[0] = listen.UnixPrefix + s.Path(path)
	}
	s.Flags[key] = values
	return nil
}

// Path returns a path of the file, which is relative to the directory of the file.
func (s *File) Path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(s.Name), name)
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

// ApplyTo sets those flags that neither the command line nor the environment has.
func (s *File) ApplyTo(c *cli.Context) error {
	for _, name := range slices.Sorted(maps.Keys(s.Flags)) {
		if c.IsSet(name) {
			continue
		}
		for _, value := range s.Flags[name] {
			if err := c.Set(name, value); err != nil {
				return fmt.Errorf("%s cannot be used: %s = %q: %w", s.Name, name, value, err)
			}
		}
	}
	return nil
}

// lineOfKey returns the line of a key of the table, or that of the table where the key is written in another way.
func lineOfKey(text, key string) int {
	at := 1
	header := regexp.MustCompile(`^\s*\[\s*` + Table + `\s*\]`)
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
