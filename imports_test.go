package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	iofs "io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowedImports lists the packages of ours that each package may import. A new import changes the design first.
var allowedImports = map[string][]string{
	".": {"tree", "limit", "site", "web", "watcher/hints", "handler", "handler/accesslog", "handler/proxy", "wire", "auth",
		"auth/session", "admin", "doctor", "internal/sessions", "links", "links/command",
		"listen", "listen/connections", "monitor", "put", "quota", "quota/limits", "redirect", "reload",
		"settings", "shares",
		"shares/layout",
		"internal/certificate", "internal/duration", "internal/excerpt", "internal/garbage", "internal/helptext",
		"internal/logwriter", "internal/manual", "internal/profiles", "internal/progress", "internal/runas",
		"internal/systemd",
		"internal/usage", "pgstore", "pgstore/clock", "pgstore/replicas", "handler/deleteguard", "internal/cluster",
		"internal/database",
		"auth/command", "auth/session/replicated", "internal/etags", "internal/history", "internal/locks",
		"settings/values"},
	"internal/database": {"pgstore", "pgstore/blobs", "settings", "internal/runas", "internal/usage"},
	"pgstore/checkup":   {"tree", "pgstore/blobs", "pgstore/clock", "pgstore/schema", "pgstore/session"},
	"internal/cluster": {"pgstore/blobs", "pgstore/checkup", "pgstore/clock", "tree", "transfer", "pgstore", "pgstore/notes", "pgstore/replicas",
		"pgstore/session", "internal/database", "internal/helptext", "internal/usage"},
	"transfer":        {"tree", "internal/etags", "internal/pause"},
	"settings/values": {"tree", "internal/usage"},
	"internal/etags":  {"tree", "internal/database", "internal/usage"},
	"internal/locks":  {"tree", "internal/database", "internal/helptext", "internal/usage"},
	"internal/history": {"tree", "internal/database", "internal/duration", "internal/etags", "internal/helptext", "internal/restored", "internal/runas",
		"internal/usage", "internal/versionat"},
	"internal/certificate": {"internal/usage"},
	"internal/duration":    {},
	"internal/excerpt":     {},
	"internal/helptext":    {"internal/usage"},
	"internal/lingering":   {},
	"internal/logwriter":   {},
	"internal/pause":       {},
	"internal/progress":    {},
	"internal/runas":       {},
	"internal/scripttest":  {"internal/servertest"}, // for tests
	"internal/folding":     {},                      // for tests
	"internal/servertest":  {},                      // for tests
	"tree":                 {},
	"admin":                {},
	"doctor":               {"limit"},
	"listen":               {"wire", "internal/usage"},
	"internal/systemd":     {},
	"internal/profiles":    {"listen", "internal/usage"},
	"listen/connections":   {"admin", "limit", "handler"},
	"internal/garbage":     {},
	"internal/manual":      {},
	"internal/restored":    {"tree"},
	"internal/versionat":   {"tree"},
	"reload":               {"auth", "internal/certificate", "internal/systemd"},
	"redirect":             {"listen", "internal/usage"},
	"settings":             {"listen", "quota/limits", "shares/layout", "site", "internal/usage"},
	"monitor":              {"admin", "listen", "limit", "tree", "handler/accesslog", "internal/usage"},
	"internal/usage":       {},
	"limit":                {},
	"shares":               {"tree", "internal/pause"},
	"shares/layout":        {"tree"},
	"quota":                {"tree", "admin", "quota/limits", "internal/pause"},
	"quota/limits":         {"tree"},
	"tree/memtree":         {"tree", "spelling"}, // for tests
	"tree/treetest":        {"tree"},
	"tree/undo":            {"tree"},
	"spelling":             {},

	"fs": {"fs/vfs", "fs/vfs/aferosystem", "fs/volumes", "fs/sharedsync", "fs/trash", "fs/history", "fs/room",
		"fs/properties", "fs/metadata"},
	"fs/metadata":         {"fs/vfs", "fs/volumes", "fs/posixacl", "fs/properties"},
	"fs/history":          {"fs/vfs", "fs/volumes", "fs/sharedsync", "fs/trash", "internal/lingering", "spelling"},
	"fs/properties":       {"fs/vfs", "fs/volumes", "fs/room"},
	"fs/room":             {"fs/vfs", "fs/volumes", "fs/history"},
	"fs/trash":            {"fs/vfs", "fs/volumes"},
	"fs/volumes":          {"fs/vfs", "fs/hold", "fs/posixacl", "mounts", "spelling"},
	"fs/posixacl":         {},
	"fs/posixacl/acltest": {"fs/posixacl"}, // for tests
	"fs/vfs/aferosystem":  {"fs/vfs"},
	"fs/hold":             {"fs/vfs"},
	"fs/sharedsync":       {},
	"fs/vfs":              {"mounts"},
	"mounts":              {},
	"watcher":             {"mounts"},
	"watcher/hints":       {"admin", "watcher"},

	"internal/clustertest":       {"internal/pgtest", "pgstore", "pgstore/blobs", "tree"}, // for tests
	"internal/clustertest/front": {"internal/clustertest"},                                // for tests

	"etagfs": {"tree", "limit", "spelling", "fs", "fs/history", "fs/metadata", "fs/room", "fs/vfs", "fs/volumes", "etagfs/content",
		"etagfs/copier", "etagfs/failure", "etagfs/feed",
		"etagfs/hashing", "etagfs/index", "etagfs/locktable", "etagfs/resumable", "etagfs/snapshots",
		"etagfs/past", "etagfs/warmup", "tree/undo"},
	"etagfs/content": {"tree", "fs", "fs/vfs", "fs/volumes", "etagfs/failure", "etagfs/hashing", "etagfs/index"},
	"etagfs/copier": {"tree", "fs", "fs/history", "fs/metadata", "fs/room", "fs/vfs", "fs/volumes", "etagfs/failure",
		"etagfs/hashing", "etagfs/index", "etagfs/snapshots"},
	"etagfs/failure": {"tree", "fs", "fs/room", "fs/vfs", "fs/volumes"},
	"etagfs/feed": {"tree", "fs", "fs/vfs", "fs/volumes", "etagfs/failure", "etagfs/index", "etagfs/journal",
		"etagfs/snapshots"},
	"etagfs/hashing":   {"tree", "limit", "fs", "fs/vfs", "fs/volumes", "etagfs/failure", "etagfs/index"},
	"etagfs/index":     {"tree", "fs", "fs/vfs", "fs/volumes"},
	"etagfs/journal":   {"tree", "internal/lingering"},
	"etagfs/locktable": {"tree", "fs", "fs/vfs", "fs/volumes", "spelling", "etagfs/failure", "etagfs/snapshots"},
	"etagfs/reopening": {"tree", "spelling", "fs", "etagfs", "etagfs/failure"},
	"etagfs/resumable": {"tree", "fs", "fs/room", "fs/vfs", "etagfs/failure", "etagfs/hashing"},
	"etagfs/snapshots": {"tree", "fs", "fs/vfs", "fs/volumes", "etagfs/failure", "etagfs/hashing"},
	"etagfs/past": {"tree", "tree/undo", "fs", "fs/history", "fs/vfs", "fs/volumes", "etagfs/failure",
		"etagfs/feed", "etagfs/hashing", "etagfs/index",
		"etagfs/snapshots"},
	"etagfs/warmup": {"tree", "fs", "fs/vfs", "fs/volumes", "etagfs/failure", "etagfs/hashing", "etagfs/index",
		"etagfs/snapshots", "internal/pause"},

	"internal/pgtest":  {"internal/servertest"}, // for tests
	"internal/s3test":  {},                      // for tests
	"pgstore/blobs":    {},
	"pgstore/clock":    {},
	"pgstore/replicas": {},
	"pgstore/schema":   {},
	"pgstore/session":  {},
	"pgstore/turns":    {},
	"pgstore/past":     {"tree", "tree/undo"},
	"pgstore": {"tree", "tree/undo", "pgstore/past", "pgstore/blobs", "pgstore/clock", "pgstore/notes",
		"pgstore/schema", "pgstore/session", "pgstore/turns", "spelling", "internal/pause"},
	"pgstore/notes":           {},
	"wire":                    {},
	"uploads":                 {"tree"},
	"put":                     {"internal/excerpt", "internal/progress", "internal/usage"},
	"auth":                    {"tree", "internal/pause"},
	"auth/session":            {},
	"auth/command":            {"auth", "links", "settings", "tree", "internal/helptext", "internal/usage"},
	"auth/session/replicated": {"auth/session", "pgstore/notes"},
	"internal/sessions": {"auth/session", "auth/session/replicated", "internal/database", "internal/helptext",
		"internal/runas", "internal/usage"},
	"web":        {"tree"},
	"site":       {"tree", "internal/duration"},
	"site/grace": {"tree"},
	"handler": {"tree", "limit", "site", "site/grace", "wire", "auth", "web", "internal/excerpt", "handler/accesslog",
		"handler/autoindex", "auth/session", "handler/login",
		"handler/byterange", "handler/charset", "handler/davxml", "handler/deleteguard", "handler/digest",
		"handler/events", "handler/exchange",
		"handler/origin", "handler/precondition", "handler/problem", "handler/proxy",
		"handler/synccollection",
		"handler/synctoken", "handler/versions", "handler/bylink", "links", "uploads"},
	"handler/bylink":         {"tree", "web", "wire"},
	"links":                  {"tree", "auth", "internal/excerpt"},
	"links/command":          {"auth", "links", "spelling", "internal/helptext", "internal/usage"},
	"handler/accesslog":      {"internal/excerpt", "wire"},
	"handler/autoindex":      {"web"},
	"handler/byterange":      {"tree"},
	"handler/deleteguard":    {"tree"},
	"handler/charset":        {"tree"},
	"handler/digest":         {"tree", "internal/excerpt"},
	"handler/events":         {"tree", "limit", "internal/pause"},
	"handler/exchange":       {"tree", "limit", "wire", "handler/accesslog"},
	"handler/login":          {"tree", "auth", "auth/session", "web", "handler/origin"},
	"handler/origin":         {"internal/excerpt", "handler/proxy"},
	"handler/precondition":   {"tree"},
	"handler/problem":        {"tree", "internal/excerpt"},
	"handler/proxy":          {},
	"handler/synccollection": {"tree"},
	"handler/synctoken":      {"tree"},
	"handler/davxml":         {"tree"},
	"handler/versions":       {"tree", "handler/davxml"},
	"bench":                  {"bench/cluster", "bench/compare", "internal/pause"},
	"bench/cluster":          {"bench/compare", "internal/pgtest"},
	"bench/compare":          {"internal/servertest"},
	"bench/login":            {"auth", "bench/compare"},
}

// testImports lists the packages that tests may import besides: a suite to run, and a real store in place of a fake.
var testImports = map[string][]string{
	".": {"fs", "fs/history", "fs/vfs", "fs/volumes", "etagfs", "internal/folding", "internal/clustertest",
		"internal/pgtest", "internal/servertest", "internal/scripttest", "tree/treetest"},
	"internal/certificate":    {"internal/servertest"},
	"auth/session/replicated": {"pgstore", "internal/pgtest"},
	"transfer":                {"tree/memtree"},
	"pgstore/checkup":         {"pgstore", "internal/pgtest", "tree/treetest"},
	"internal/database":       {"internal/pgtest"},
	"internal/cluster":        {"internal/pgtest"},
	"internal/history":        {"fs", "etagfs"},
	"monitor":                 {"fs", "fs/volumes", "etagfs", "etagfs/reopening", "quota", "quota/limits", "tree/treetest"},
	"put":                     {"fs", "etagfs", "handler"},
	"reload":                  {"internal/servertest"},
	"site/grace":              {"fs", "etagfs"},
	"tree/treetest":           {"fs", "etagfs"},
	"tree/memtree":            {"tree/treetest"},
	"fs/metadata":             {"fs/posixacl/acltest"},
	"fs":                      {"fs/posixacl", "fs/posixacl/acltest", "internal/folding"},
	"fs/vfs":                  {"fs/vfs/aferosystem"},
	"etagfs":                  {"internal/folding", "tree/treetest", "watcher"},
	"etagfs/index":            {"tree/treetest"},
	"etagfs/warmup":           {"limit", "tree/treetest"},
	"pgstore":                 {"internal/pgtest", "internal/s3test", "tree/treetest"},
	"pgstore/blobs":           {"internal/s3test"},
	"pgstore/schema":          {"internal/pgtest"},
	"pgstore/notes":           {"internal/pgtest", "pgstore/schema"},
	"pgstore/session":         {"internal/pgtest"},
	"handler/events":          {"tree/memtree", "tree/treetest"},
	"handler/synccollection":  {"tree/memtree", "tree/treetest"},
	"quota":                   {"fs", "etagfs", "tree/memtree", "tree/treetest", "watcher"},
	"shares":                  {"fs", "etagfs", "tree/treetest", "tree/memtree", "handler"},
	"web": {"handler", "fs", "etagfs", "internal/clustertest", "internal/servertest", "tree/memtree",
		"tree/treetest"},
	"handler": {"fs", "fs/vfs", "fs/volumes", "etagfs", "internal/pgtest", "internal/servertest", "pgstore",
		"pgstore/blobs", "tree/treetest", "tree/memtree"},
}

const module = "r-seed-1f3a754f.example/ifmatch"

func TestImports(t *testing.T) {
	found := map[string]bool{}
	for file, imports := range importsOf(t, os.DirFS(".")) {
		dir := path.Dir(file)
		found[dir] = true
		allowed, ok := allowedImports[dir]
		if !ok {
			t.Errorf("%s: the package %s is not in the table: add it, with its imports", file, dir)
			continue
		}
		if strings.HasSuffix(file, "_test.go") {
			allowed = slices.Concat(allowed, testImports[dir], []string{dir})
		}
		if file == "backend.go" || file == "backend_state.go" {
			// no other file names a store
			allowed = slices.Concat(allowed, []string{"fs", "fs/history", "fs/volumes", "etagfs", "etagfs/reopening"})
		}
		for _, imported := range imports {
			if !slices.Contains(allowed, imported) {
				t.Errorf("%s imports %s: %s may import only %q of ours", file, imported, dir, allowed)
			}
		}
	}
	for dir := range allowedImports {
		if !found[dir] && dir != "tree/treetest" {
			t.Errorf("the table has a package %s that does not exist", dir)
		}
	}
}

// TestImportsCoversAllFiles shows that TestImports sees imports in tests and in files for other systems too.
func TestImportsCoversAllFiles(t *testing.T) {
	imports := importsOf(t, os.DirFS("."))
	if got := imports["backend.go"]; !slices.Contains(got, "etagfs") || !slices.Contains(got, "fs") {
		t.Errorf("backend.go imports %q", got)
	}
	for _, file := range []string{"fs/vfs/other.go", "fs/vfs/openat2_linux.go", "watcher/watcher_test.go"} {
		if _, ok := imports[file]; !ok {
			t.Errorf("%s is not among the files: %q", file, slices.Sorted(maps.Keys(imports)))
		}
	}
}

// importsOf returns the packages of ours that each Go file of a tree imports, for any system.
func importsOf(t *testing.T, tree iofs.FS) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := iofs.WalkDir(tree, ".", func(name string, d iofs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (d.Name() == "testdata" || d.Name()[0] == '.' || d.Name()[0] == '_'):
			return iofs.SkipDir
		case d.IsDir() && name != "." && isModule(tree, name):
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

// TestArchitectureHasThePackages: the table of docs/architecture.md has a row for each package, which tells its imports
// but for those of internal. A row may sum them up: "those above".
func TestArchitectureHasThePackages(t *testing.T) {
	_, table, _ := strings.Cut(readPage(t, "docs/architecture.md"), "| package |")
	table, _, _ = strings.Cut(table, "\n\n")
	quoted := regexp.MustCompile("`([a-z0-9/]+)`")
	found := map[string]bool{".": true}
	for _, line := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 3 {
			t.Fatalf("a row has %d cells: %s", len(cells), line)
		}
		var row, may []string // the packages, and what they may import
		var above string
		for i, match := range quoted.FindAllStringSubmatch(cells[0], -1) {
			name := match[1]
			if i == 0 {
				above = path.Dir(name)
			} else if _, ok := allowedImports[name]; !ok || above == "internal" {
				name = path.Join(above, path.Base(name))
			}
			imports, ok := allowedImports[name]
			if !ok && name != "tree/treetest" {
				t.Errorf("there is no package %s: %s", name, line)
			}
			found[name] = true
			row, may = append(row, name), append(may, imports...)
		}
		for _, match := range quoted.FindAllStringSubmatch(cells[1], -1) {
			found[path.Join(above, match[1])], found[match[1]] = true, true
		}
		if !strings.Contains(cells[2], "those") {
			may = slices.DeleteFunc(may, func(name string) bool { return slices.Contains(row, name) })
			compareImports(t, line, may, quoted.FindAllString(cells[2], -1))
		}
	}
	for dir := range allowedImports {
		if !found[dir] && !found[path.Base(dir)] {
			t.Errorf("docs/architecture.md has no row for %s", dir)
		}
	}
}

// compareImports compares the imports that a row tells with those that its packages may have.
func compareImports(t *testing.T, row string, may, told []string) {
	t.Helper()
	for _, one := range may {
		if !strings.HasPrefix(one, "internal/") && !slices.Contains(told, "`"+one+"`") {
			t.Errorf("%s\ndoes not tell of the import of %s", row, one)
		}
	}
	for _, one := range told {
		if name := strings.Trim(one, "`"); name != "internal" && !slices.Contains(may, name) {
			t.Errorf("%s\ntells of an import of %s", row, name)
		}
	}
}

// TestHandlerSpeaksOfNoDisk: what a store keeps its files on, and why that fails, the store says.
func TestHandlerSpeaksOfNoDisk(t *testing.T) {
	words := regexp.MustCompile(`(?i)\b(disks?|mount(s|ed)?|overlay|inodes?|leases?|kernel)\b`)
	files := 0
	err := iofs.WalkDir(os.DirFS("handler"), ".", func(name string, d iofs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		files++
		text, err := os.ReadFile(path.Join("handler", name))
		for i, line := range strings.Split(string(text), "\n") {
			if word := words.FindString(line); word != "" {
				t.Errorf("handler/%s:%d speaks of %q", name, i+1, word)
			}
		}
		return err
	})
	if err != nil || files < 20 {
		t.Errorf("%d files, error %v", files, err)
	}
}

// TestLibrariesAreUsed: these libraries have a place in the program itself, not in its tests alone.
func TestLibrariesAreUsed(t *testing.T) {
	for _, library := range []struct {
		path, name string
		in         []string // packages that need it
	}{
		{"github.com/spf13/afero", "afero", []string{".", "fs", "fs/vfs/aferosystem"}}, // --memory, and embedders
		{"golang.org/x/net/webdav", "webdav", []string{"tree", "etagfs", "handler", "handler/davxml", "pgstore"}},
		{"github.com/fsnotify/fsnotify", "fsnotify", []string{"watcher"}},
		{"github.com/urfave/cli/v2", "cli", []string{".", "settings", "internal/helptext"}},
	} {
		for _, dir := range library.in {
			files, err := filepath.Glob(path.Join(dir, "*.go"))
			if err != nil {
				t.Fatal(err)
			}
			files = slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
			if !slices.ContainsFunc(files, func(name string) bool { return names(t, name, library.path, library.name) }) {
				t.Errorf("the package %s does not use %s", dir, library.path)
			}
		}
	}
}

// names reports whether a file imports a library and names something of it.
func names(t *testing.T, name, library, as string) bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	imports := func(spec *ast.ImportSpec) bool { return spec.Path.Value == strconv.Quote(library) }
	if !slices.ContainsFunc(file.Imports, imports) {
		return false
	}
	found := false
	ast.Inspect(file, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok {
			of, ok := selector.X.(*ast.Ident)
			found = found || ok && of.Name == as
		}
		return !found
	})
	return found
}

// isModule reports whether a directory is a module of its own, which is no part of the server.
func isModule(tree iofs.FS, dir string) bool {
	_, err := iofs.Stat(tree, path.Join(dir, "go.mod"))
	return err == nil
}
