package layout_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"r-seed-1f3a754f.example/ifmatch/shares/layout"
)

func parse(t *testing.T, text string) ([]layout.Share, error) {
	t.Helper()
	var content map[string]any
	if _, err := toml.Decode(text, &content); err != nil {
		t.Fatal(err)
	}
	return layout.Parse(content["share"], text, func(path string) string { return "/etc/" + path })
}

func TestParse(t *testing.T) {
	for _, test := range []struct{ name, text, err string }{
		{"no share", "[serve]\nread-only = true\n", ""},
		{"two shares", "[[share]]\npath = '/docs'\ndir = 'd'\n[[share]]\npath = '/team/pics/'\ndir = 'p'\n", ""},
		{"a table", "[share]\npath = '/docs'\n", "[[share]]"},
		{"a text", "share = '/docs'\n", "[[share]]"},
		{"an unknown key", "[[share]]\npath = '/a'\ndir = 'd'\n\n[[share]]\nPath = '/b'\n", "line 5: share: the key \"Path\""},
		{"no directory", "\n[[share]]\npath = '/docs'\n", "line 2: share: write both"},
		{"no path", "[[share]]\ndir = 'd'\n", "line 1: share: write both"},
		{"a number", "[[share]]\ndir = 1\n", "dir: write a path"},
		{"an empty path", "[[share]]\npath = ''\n", "path: write a path"},
		{"no slash", "[[share]]\npath = 'docs'\n", "begin it with a slash"},
		{"the root", "[[share]]\npath = '/'\ndir = 'd'\n", "needs a name"},
		{"only slashes", "[[share]]\npath = '//'\ndir = 'd'\n", "needs a name"},
		{"an empty segment", "[[share]]\npath = '/a//b'\ndir = 'd'\n", "empty segment"},
		{"dots", "[[share]]\npath = '/a/../b'\ndir = 'd'\n", "segment .."},
		{"a line break", "[[share]]\npath = \"/a\\nb\"\ndir = 'd'\n", "cannot be shown"},
		{"inline", "share = [{path = '/a'}]\n", "[[share]]"},
		{"too many", strings.Repeat("[[share]]\npath = '/a'\ndir = 'd'\n", layout.Max+1), "there may be"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(t, test.text)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got error %v, want %q", err, test.err)
			}
		})
	}
	got, err := parse(t, "[[share]]\npath = '/docs'\ndir = 'd'\n[[share]]\npath = '/team/100% ü/'\ndir = 'p'\n")
	if want := []layout.Share{{"docs", "/etc/d"}, {"team/100% ü", "/etc/p"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestCheck(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"a", "b", "b/c", "ab"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"to-a": "a", "to-b": filepath.Join(root, "b"), "a/up": "..", "dead": "none"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Skip("NOT RUN: ", err)
		}
	}
	for _, test := range []struct {
		name string
		all  []string // a path and a directory each
		err  string
	}{
		{"apart", []string{"a", "a", "b", "b", "c/d", "ab"}, ""},
		{"names of which one begins with the other", []string{"a", "a", "ab", "ab"}, ""},
		{"the same path", []string{"x", "a", "x", "b"}, "the same path"},
		{"a path in another", []string{"x/y", "a", "x", "b"}, "the same path"},
		{"a path in another, in the other order", []string{"x", "a", "x/y/z", "b"}, "the same path"},
		{"the same path but for case", []string{"x", "a", "X", "b"}, "the same path"},
		{"a path in another but for case", []string{"x/y", "a", "X", "b"}, "the same path"},
		{"paths with a collection in common", []string{"x/y", "a", "x/z", "b"}, ""},
		{"the same directory", []string{"x", "a", "y", "a/."}, "the same directory"},
		{"a directory in another", []string{"x", "b", "y", "b/c"}, "the same directory"},
		{"a directory above another", []string{"x", "b/c", "y", "b"}, "the same directory"},
		{"by a link", []string{"x", "a", "y", "to-a"}, "the same directory"},
		{"in another by a link", []string{"x", "b/c", "y", "to-b"}, "the same directory"},
		{"above by a link", []string{"x", "a", "y", "a/up"}, "the same directory"},
		{"a dead link", []string{"x", "a", "y", "dead"}, "does not exist"},
		{"missing", []string{"x", "none"}, "the share /x: "},
		{"a file", []string{"x", "file"}, "not a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var all []layout.Share
			for i := 0; i < len(test.all); i += 2 {
				all = append(all, layout.Share{Path: test.all[i], Dir: root + "/" + test.all[i+1]})
			}
			err := layout.Check(all, strings.EqualFold)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got error %v, want %q", err, test.err)
			}
		})
	}
}
