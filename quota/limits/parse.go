package limits

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Max is the maximum number of limits in a file. Each write looks at all of them.
const Max = 256

// Parse reads the value of the key "quota" of a configuration file, as package toml decodes it into any, and nil for a
// missing key. text is the file, for the lines in errors:
//
//	[[quota]]
//	path = "/home/{user}"
//	size = "10GB"
//	history = true     # versions in the history count, too (the default is false)
func Parse(value any, text string) ([]Limit, error) {
	if value == nil {
		return nil, nil
	}
	tables, ok := value.([]map[string]any)
	if !ok {
		return nil, errors.New("write each quota as a table of its own: [[quota]]")
	}
	if len(tables) > Max {
		return nil, fmt.Errorf("there are %d quotas, and there may be %d", len(tables), Max)
	}
	lines := headers(text)
	where := func(i int) string {
		if len(lines) == len(tables) {
			return fmt.Sprintf("line %d: quota", lines[i])
		}
		return fmt.Sprintf("quota %d", i+1)
	}
	var all []Limit
	for i, table := range tables {
		one, err := parse(table)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where(i), err)
		}
		for _, before := range all {
			if same(segmentsOf(strings.Trim(before.Path, "/")), segmentsOf(strings.Trim(one.Path, "/"))) {
				return nil, fmt.Errorf("%s: path %q: there is a quota of these names before", where(i), one.Path)
			}
		}
		all = append(all, one)
	}
	return all, nil
}

// headers returns the lines on which the tables begin.
func headers(text string) (lines []int) {
	header := regexp.MustCompile(`^\s*\[\[\s*["']?quota["']?\s*\]\]`)
	n := 0
	for line := range strings.Lines(text) {
		if n++; header.MatchString(line) {
			lines = append(lines, n)
		}
	}
	return lines
}

func parse(table map[string]any) (one Limit, err error) {
	sized := false
	for _, key := range slices.Sorted(maps.Keys(table)) {
		text, isText := table[key].(string)
		switch key {
		case "path":
			if !isText {
				return one, errors.New(`path: write it in quotation marks, as in "/home/{user}"`)
			}
			if one.Path, err = parsePath(text); err != nil {
				return one, err
			}
		case "size":
			n, err := humanize.ParseBytes(text)
			if !isText || err != nil || n > math.MaxInt64 {
				return one, errors.New(`size: write a size in quotation marks, as in "10GB"`)
			}
			one.Max, sized = int64(n), true
		case "history":
			yes, ok := table[key].(bool)
			if !ok {
				return one, errors.New("history: write true or false, without quotation marks")
			}
			one.History = yes
		default:
			return one, fmt.Errorf("the key %q is not known: use path, size and history", key)
		}
	}
	if one.Path == "" || !sized {
		return one, errors.New(`write both path = "/home/{user}" and size = "10GB"`)
	}
	return one, nil
}

// parsePath checks a path, and leaves out a slash at its end.
func parsePath(path string) (string, error) {
	name, ok := strings.CutPrefix(path, "/")
	if !ok {
		return "", fmt.Errorf("path %q: begin it with a slash, as in /home/{user}", path)
	}
	if name = strings.TrimSuffix(name, "/"); name == "" {
		if path == "/" {
			return "/", nil
		}
		return "", fmt.Errorf("path %q: write / for all", path)
	}
	if err := tree.CheckName(name); err != nil {
		return "", fmt.Errorf("path %q: no name can be that: %w", path, err)
	}
	for segment := range strings.SplitSeq(name, "/") {
		if !isAny(segment) && strings.ContainsAny(segment, "*{}") {
			return "", fmt.Errorf("path %q: %q is not a pattern: a segment is a name, or {user} or * for any one name",
				path, segment)
		}
	}
	return "/" + name, nil
}
