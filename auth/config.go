package auth

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"
)

// A Config is the content of a configuration file: users, groups and rules.
type Config struct {
	Users  string              // the users file, relative to the configuration file, or "" for none
	Groups map[string][]string // members of each group
	Rules  []Rule
	// AskLogin are patterns of the User-Agents that never log in by themselves. nil stands for the default ones, and
	// an empty list for none.
	AskLogin []string

	text    string // the whole file
	counted bool   // the file says how many rules it has: count
	count   int
}

// configFile is the configuration file as TOML has it.
type configFile struct {
	Count    *int                `toml:"rule-count"`
	Users    string              `toml:"users"`
	AskLogin []string            `toml:"ask-login"`
	Groups   map[string][]string `toml:"groups"`
	Rules    []ruleFile          `toml:"rule"`
	Serve    map[string]any      `toml:"serve"` // flags, for the program to read
	Shares   []map[string]any    `toml:"share"` // for the program, too
	Quotas   []map[string]any    `toml:"quota"` // as well
	Sites    []map[string]any    `toml:"site"`  // as well
}

type ruleFile struct {
	Path    *string   `toml:"path"`
	Who     *[]string `toml:"who"`
	Effects *[]string `toml:"effects"`
	Require string    `toml:"require"`
}

// ParseConfig reads a configuration file in TOML:
//
//	users = "users"                     # the users file
//	rule-count = 1                      # how many there are, so that a part of the file is not taken for the whole
//
//	[groups]
//	staff = ["alice", "bob"]
//
//	[[rule]]
//	path = "/projects/{user}"
//	who = ["@staff", "carol"]           # or "authenticated", or "anonymous" for everybody
//	effects = ["list", "read", "create", "replace", "remove", "props", "lock", "unlock", "history"]   # or "all"
//	require = "conditions"              # or "create-only"
//
// A key that it does not know, and a value that cannot be meant, is an error with its line. All of them are told at
// once.
func ParseConfig(text string) (*Config, error) {
	if len(text) > maxConfig {
		return nil, fmt.Errorf("it is larger than %d bytes", maxConfig)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		return nil, errors.New("its last line has no end, as if the writing of the file was cut off: end it with a newline")
	}
	config, found, err := parseConfig(text)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return config, config.checkCount()
	}
	var errs []error
	for i, problem := range found {
		if i == toldLines {
			errs = append(errs, fmt.Errorf("and %d more", len(found)-i))
			break
		}
		errs = append(errs, fmt.Errorf("line %d: %s", lineOf(text, problem), problem))
	}
	return nil, errors.Join(errs...)
}

// maxConfig bounds configuration files, in bytes.
const maxConfig = 1 << 20

// lineOf returns the line that a problem begins on: that with which the text down to it has the problem first. A text
// that ends within a value is no TOML, and is tried again with the next line.
func lineOf(text, problem string) int {
	lines := slices.Collect(strings.Lines(text))
	has := func(n int) (bool, int) {
		for ; n < len(lines); n++ {
			if _, found, err := parseConfig(strings.Join(lines[:n], "")); err == nil {
				return slices.Contains(found, problem), n
			}
		}
		return true, n
	}
	low, high := 0, len(lines) // without the problem, and with it
	for low+1 < high {
		middle := (low + high) / 2
		if with, n := has(middle); with && n < high {
			high = n
		} else if with {
			high = middle // nothing from there on is a whole text but the rest
		} else {
			low = n
		}
	}
	return high
}

// parseConfig returns the problems of a text that is TOML, or the error of a text that is not.
func parseConfig(text string) (*Config, []string, error) {
	var file configFile
	meta, err := toml.Decode(text, &file)
	if err != nil {
		syntax := new(toml.ParseError)
		if errors.As(err, syntax) {
			err = fmt.Errorf("line %d: %s", syntax.Position.Line, strings.TrimPrefix(syntax.Message, "toml: "))
		}
		return nil, nil, err
	}
	var found []string
	unknown := map[string]bool{}
	for _, key := range meta.Undecoded() {
		if name := key.String(); !unknown[name] {
			unknown[name] = true
			found = append(found, fmt.Sprintf("the key %q is not known", name))
		}
	}
	config := &Config{Users: file.Users, Groups: file.Groups, AskLogin: file.AskLogin, text: text}
	if config.counted = file.Count != nil; config.counted {
		config.count = *file.Count
	}
	for _, group := range slices.Sorted(maps.Keys(file.Groups)) {
		found = append(found, checkGroup(group, file.Groups[group])...)
	}
	lines, line, counted := ruleLine().FindAllStringIndex(text, -1), 1, 0
	for i, r := range file.Rules {
		rule, problems := r.rule()
		for _, problem := range problems {
			found = append(found, fmt.Sprintf("rule %d: %v", i+1, problem))
		}
		if len(lines) == len(file.Rules) {
			line += strings.Count(text[counted:lines[i][0]], "\n")
			counted = lines[i][0]
			rule.Line = line
		}
		config.Rules = append(config.Rules, rule)
	}
	return config, found, nil
}

func checkGroup(group string, members []string) (found []string) {
	if err := CheckGroup(group); err != nil {
		found = append(found, fmt.Sprintf("group %q: %v", group, err))
	}
	for _, member := range members {
		if err := CheckName(member); err != nil {
			found = append(found, fmt.Sprintf("group %q: member %q: %v", group, member, err))
		}
	}
	return found
}

// ruleLine matches the line on which a rule begins. Nothing else looks so, unless it is in a text of several lines.
var ruleLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[ \t]*\[\[[ \t]*rule[ \t]*\]\]`)
})

// rule reads one rule, and tells all that is wrong with it.
func (r *ruleFile) rule() (rule Rule, problems []error) {
	read := func(given bool, parse func() error) {
		if given {
			if err := parse(); err != nil {
				problems = append(problems, err)
			}
		}
	}
	read(r.Path != nil, func() (err error) { rule.Path, err = ParsePath(*r.Path); return err })
	read(r.Who != nil, func() (err error) { rule.Who, err = ParseWho(*r.Who); return err })
	read(r.Effects != nil, func() (err error) { rule.Effects, err = ParseEffects(*r.Effects); return err })
	read(r.Require != "", func() (err error) { rule.Require, err = ParsePolicy(r.Require); return err })
	if r.Path == nil || r.Who == nil || r.Effects == nil {
		problems = append(problems, errors.New(`it needs path, who and effects (effects = [] grants nothing)`))
	}
	return rule, problems
}
