// Package layout reads which directories are served at which paths: the [[share]] tables of the configuration file. It
// refuses two shares that would serve the same file, or the same path.
package layout

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Max is the maximum number of shares. Each has a store of its own, with its watches and its index.
const Max = 256

// A Share is a directory that is served at a path.
type Share struct {
	Path string // the name of the collection in the tree, such as "team/docs"
	Dir  string // of the operating system
}

// Parse reads the value of the key "share" of a configuration file, as package toml decodes it into any, and nil for a
// missing key. resolve returns a path of the operating system that is written in the file. text is the file, for the
// lines in errors.
func Parse(value any, text string, resolve func(string) string) ([]Share, error) {
	if value == nil {
		return nil, nil
	}
	tables, ok := value.([]map[string]any)
	if !ok {
		return nil, errors.New("write each share as a table of its own: [[share]]")
	}
	if len(tables) > Max {
		return nil, fmt.Errorf("there are %d shares, and there may be %d", len(tables), Max)
	}
	lines := headers(text)
	var all []Share
	for i, table := range tables {
		one, err := parse(table, resolve)
		if err != nil && i < len(lines) {
			return nil, fmt.Errorf("line %d: share: %w", lines[i], err)
		}
		if err != nil {
			return nil, fmt.Errorf("share %d: %w", i+1, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// headers returns the lines on which the tables begin.
func headers(text string) (lines []int) {
	header := regexp.MustCompile(`^\s*\[\[\s*["']?share["']?\s*\]\]`)
	n := 0
	for line := range strings.Lines(text) {
		if n++; header.MatchString(line) {
			lines = append(lines, n)
		}
	}
	return lines
}

func parse(table map[string]any, resolve func(string) string) (one Share, err error) {
	for _, key := range slices.Sorted(maps.Keys(table)) {
		text, ok := table[key].(string)
		switch {
		case key != "path" && key != "dir":
			return one, fmt.Errorf("the key %q is not known: use path and dir", key)
		case !ok || text == "":
			return one, fmt.Errorf("%s: write a path in quotation marks", key)
		case key == "dir":
			one.Dir = resolve(text)
		default:
			if one.Path, err = parsePath(text); err != nil {
				return one, err
			}
		}
	}
	if one.Path == "" || one.Dir == "" {
		return one, errors.New(`write both path = "/docs" and dir = "/srv/docs"`)
	}
	return one, nil
}

// parsePath returns the name of a path in the tree.
func parsePath(path string) (string, error) {
	name, ok := strings.CutPrefix(path, "/")
	name = strings.TrimSuffix(name, "/")
	switch {
	case !ok:
		return "", fmt.Errorf("path %q: begin it with a slash, as in /docs", path)
	case name == "":
		return "", fmt.Errorf("path %q: a share needs a name; without shares, ifmatch serve DIR serves one directory there",
			path)
	case strings.IndexFunc(name, unicode.IsControl) >= 0 || strings.ToValidUTF8(name, "") != name:
		return "", fmt.Errorf("path %q: it has characters that cannot be shown", path)
	}
	if err := tree.CheckName(name); err != nil {
		return "", fmt.Errorf("path %q: write it without empty segments, . and ..: %w", path, err)
	}
	return name, nil
}

// Check refuses shares of which two have the same path or directory, or one in the other. alike reports whether two
// names of equally many segments may be one for some file system or client: rules cannot tell these apart. Directories
// are compared after their links are resolved.
func Check(all []Share, alike func(a, b string) bool) error {
	dirs := make([]directory, len(all))
	for i, one := range all {
		var err error
		if dirs[i], err = open(one.Dir); err != nil {
			return fmt.Errorf("the share /%s: %w", one.Path, err)
		}
	}
	for i, a := range all {
		for j, b := range all[:i] {
			n := min(strings.Count(a.Path, "/"), strings.Count(b.Path, "/")) + 1
			switch {
			case alike(first(a.Path, n), first(b.Path, n)):
				return fmt.Errorf("the shares /%s and /%s are the same path, or one is in the other: give them paths that "+
					"also differ without case", b.Path, a.Path)
			case dirs[i].isIn(dirs[j]) || dirs[j].isIn(dirs[i]):
				return fmt.Errorf("the shares /%s and /%s are the same directory, or one is in the other: %s and %s",
					b.Path, a.Path, b.Dir, a.Dir)
			}
		}
	}
	return nil
}

// first returns the first n segments of a name.
func first(name string, n int) string {
	segments := strings.SplitN(name, "/", n+1)
	return strings.Join(segments[:min(n, len(segments))], "/")
}

// A directory is one directory and all above it, the closest first.
type directory []os.FileInfo

func open(dir string) (d directory, err error) {
	path, err := filepath.Abs(dir)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist: make it first (mkdir -p), or name another directory", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot serve this directory: %w", err)
	}
	for {
		info, err := os.Stat(path)
		if err != nil && len(d) == 0 {
			return nil, fmt.Errorf("cannot serve this directory: %w", err)
		}
		if err == nil { // else it cannot be compared
			d = append(d, info)
		}
		if len(d) == 1 && !d[0].IsDir() {
			return nil, fmt.Errorf("%s is not a directory: name the directory that contains it", dir)
		}
		if path == filepath.Dir(path) {
			return d, nil
		}
		path = filepath.Dir(path)
	}
}

// isIn reports whether a directory is another one, or below it.
func (d directory) isIn(other directory) bool {
	return slices.ContainsFunc(d, func(above os.FileInfo) bool { return os.SameFile(above, other[0]) })
}
