package site

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/duration"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Parse reads the value of the key "site" of a configuration file, as package toml decodes it into any, and nil for a
// missing key. text is the file, for the lines in errors:
//
//	[[site]]
//	path = "/www"
//	host = "www.example.org"
//	index = "index.html"           # the default
//	not_found = "404.html"         # the default, "" for none
//	spa = "index.html"             # the default is none
//	listing = false                # the default
//	precompressed = true           # the default
//	compress = true                # the default
//	charset = "utf-8"              # the default is none
//	csp = "default-src 'self'"     # the default is none
//	immutable = ["assets/**"]      # the default are names with hexadecimal hashes
//	publish_grace = "10m"          # the default is that of --publish-grace
//	cache = [{ match = "*.woff2", value = "public, max-age=86400" }]
func Parse(value any, text string) ([]Site, error) {
	if value == nil {
		return nil, nil
	}
	tables, ok := value.([]map[string]any)
	if !ok {
		return nil, errors.New("write each site as a table of its own: [[site]]")
	}
	lines := headers(text)
	var all []Site
	for i, table := range tables {
		one, err := parse(table)
		switch {
		case err == nil:
			all = append(all, one)
		case len(lines) == len(tables):
			return nil, fmt.Errorf("line %d: site: %w", lines[i], err)
		default:
			return nil, fmt.Errorf("site %d: %w", i+1, err)
		}
	}
	_, err := NewSet(all)
	return all, err
}

// headers returns the lines on which the tables begin.
func headers(text string) (lines []int) {
	header := regexp.MustCompile(`^\s*\[\[\s*["']?site["']?\s*\]\]`)
	n := 0
	for line := range strings.Lines(text) {
		if n++; header.MatchString(line) {
			lines = append(lines, n)
		}
	}
	return lines
}

// parse reads one table.
func parse(table map[string]any) (Site, error) {
	s := Defaults("")
	if table["path"] == nil {
		return s, errors.New(`the path is missing: write path = "/www"`)
	}
	for _, key := range slices.Sorted(maps.Keys(table)) {
		if err := s.set(key, table[key]); err != nil {
			return s, fmt.Errorf("%s: %w", key, err)
		}
	}
	return s, nil
}

// set takes a key and its value.
func (s *Site) set(key string, value any) (err error) {
	switch key {
	case "path":
		return setText(&s.Path, value, parsePath)
	case "host":
		return setText(&s.Host, value, parseHost)
	case "index":
		return setText(&s.Index, value, parseBase)
	case "not_found":
		return setText(&s.NotFound, value, parseFile)
	case "spa":
		return setText(&s.SPA, value, parseFile)
	case "charset":
		return setText(&s.Charset, value, parseCharset)
	case "csp":
		return setText(&s.CSP, value, parseField)
	case "listing":
		return setYes(&s.Listing, value)
	case "precompressed":
		return setYes(&s.Precompressed, value)
	case "compress":
		return setYes(&s.Compress, value)
	case "immutable":
		s.Immutable, err = parsePatterns(value)
		return err
	case "publish_grace":
		s.hasGrace = true
		return setText(&s.Grace, value, ParseGrace)
	case "cache":
		s.Cache, err = parseRules(value)
		return err
	}
	return errors.New("the key is not known: use path, host, index, not_found, spa, listing, precompressed, compress, " +
		"charset, csp, immutable, publish_grace and cache")
}

func setText[T any](to *T, value any, parse func(string) (T, error)) (err error) {
	text, ok := value.(string)
	if !ok {
		return errors.New("write a text in quotation marks")
	}
	*to, err = parse(text)
	return err
}

func setYes(to *bool, value any) (ok error) {
	yes, is := value.(bool)
	if !is {
		return errors.New("write true or false, without quotation marks")
	}
	*to = yes
	return nil
}

// parseBase reads the last segment of a name.
func parseBase(text string) (string, error) {
	if tree.CheckName(text) != nil || text == "" || strings.Contains(text, "/") {
		return "", fmt.Errorf("%q is not the name of a file", text)
	}
	return text, nil
}

// parseFile reads a name below the path of a site, or "".
func parseFile(text string) (string, error) {
	name := strings.TrimPrefix(text, "/")
	if tree.CheckName(name) != nil || path.Clean("/"+name) != "/"+name {
		return "", fmt.Errorf("%q is not the path of a file of the site", text)
	}
	return name, nil
}

func parseCharset(text string) (string, error) {
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+-]{0,39}$`).MatchString(text) {
		return "", fmt.Errorf("%q is not the name of a charset, such as utf-8", text)
	}
	return text, nil
}

// ParseGrace reads a grace such as "10m" or "1d".
func ParseGrace(text string) (time.Duration, error) {
	d, err := duration.Parse(text)
	if err == nil {
		err = CheckGrace(d)
	}
	return d, err
}

// CheckGrace fails if a grace is outside of its bounds.
func CheckGrace(d time.Duration) error {
	if d < 0 || d > MaxGrace {
		return errors.New("a grace is 0s, or up to 7d")
	}
	return nil
}

func parseField(text string) (string, error) { return text, checkField(text) }

// maxRules bounds the rules and the patterns of a site. Each answer looks at all of them.
const maxRules = 256

func parsePatterns(value any) ([]Pattern, error) {
	list, ok := value.([]any)
	if !ok || len(list) > maxRules {
		return nil, errors.New(`write a list of patterns, such as ["assets/**"]`)
	}
	all := []Pattern{} // none is a value, too
	for _, one := range list {
		text, _ := one.(string)
		pattern, err := ParsePattern(text)
		if err != nil {
			return nil, err
		}
		all = append(all, pattern)
	}
	return all, nil
}

func parseRules(value any) ([]Rule, error) {
	usage := errors.New(`write a list such as [{ match = "*.woff2", value = "public, max-age=86400" }]`)
	var tables []map[string]any
	switch list := value.(type) {
	case []map[string]any:
		tables = list
	case []any:
		for _, one := range list {
			table, ok := one.(map[string]any)
			if !ok {
				return nil, usage
			}
			tables = append(tables, table)
		}
	default:
		return nil, usage
	}
	if len(tables) > maxRules {
		return nil, fmt.Errorf("there are %d rules, and there may be %d", len(tables), maxRules)
	}
	var all []Rule
	for _, table := range tables {
		match, isMatch := table["match"].(string)
		text, isText := table["value"].(string)
		if !isMatch || !isText || len(table) != 2 {
			return nil, usage
		}
		pattern, err := ParsePattern(match)
		if err == nil {
			err = checkField(text)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Rule{pattern, text})
	}
	return all, nil
}
