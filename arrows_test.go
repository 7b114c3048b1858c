package main

import (
	"go/parser"
	"go/token"
	iofs "io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows says what each room may know of the others. Whoever needs another arrow changes the design first.
var arrows = map[string][]string{
	".":                    {"tree", "limit", "fs", "watcher", "etagfs", "handler", "wire", "auth"},
	"auth":                 {"tree"},
	"tree":                 {},
	"limit":                {},
	"tree/treetest":        {"tree"},
	"fs":                   {},
	"fs/folding":           {}, // for tests
	"watcher":              {},
	"etagfs":               {"tree", "limit", "fs"},
	"wire":                 {},
	"handler":              {"tree", "limit", "wire", "handler/precondition", "handler/davxml"},
	"handler/precondition": {"tree"},
	"handler/davxml":       {"tree"},
	"bench":                {},
}

// testArrows are those that tests may have besides: a suite to run, and a real store in place of a fake.
var testArrows = map[string][]string{
	".":             {"fs/folding"},
	"tree/treetest": {"fs", "etagfs"},
	"fs":            {"fs/folding"},
	"etagfs":        {"tree/treetest", "fs/folding"},
	"handler":       {"fs", "etagfs"},
}

const module = "ifmatch"

func TestArrows(t *testing.T) {
	found := map[string]bool{}
	for file, imports := range importsOf(t, os.DirFS(".")) {
		room := path.Dir(file)
		found[room] = true
		allowed, ok := arrows[room]
		if !ok {
			t.Errorf("%s: the room %s is not in the table: add it, with what it may import", file, room)
			continue
		}
		if strings.HasSuffix(file, "_test.go") {
			allowed = slices.Concat(allowed, testArrows[room], []string{room})
		}
		for _, imported := range imports {
			if !slices.Contains(allowed, imported) {
				t.Errorf("%s imports %s; %s may import of ours only %q", file, imported, room, allowed)
			}
		}
	}
	for room := range arrows {
		if !found[room] && room != "tree/treetest" {
			t.Errorf("the table has a room %s that does not exist", room)
		}
	}
}

// TestArrowsSees makes sure that TestArrows would see an arrow: also in a file for another system, and in a test.
func TestArrowsSees(t *testing.T) {
	imports := importsOf(t, os.DirFS("."))
	if got := imports["watch.go"]; !slices.Contains(got, "etagfs") || !slices.Contains(got, "watcher") {
		t.Errorf("watch.go imports %q", got)
	}
	for _, file := range []string{"fs/kernel_other.go", "fs/kernel_linux.go", "watcher/watcher_test.go"} {
		if _, ok := imports[file]; !ok {
			t.Errorf("%s is not among the files: %q", file, slices.Sorted(maps.Keys(imports)))
		}
	}
}

// importsOf returns what each Go file of a tree imports of ours, whichever system it is for.
func importsOf(t *testing.T, tree iofs.FS) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := iofs.WalkDir(tree, ".", func(name string, d iofs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (d.Name() == "testdata" || d.Name()[0] == '.' || d.Name()[0] == '_'):
			return iofs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		source, err := iofs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		found[name] = nil
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
				found[name] = append(found[name], ours)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
