package handler

import (
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A linkModel is the links of a world on a disk. The zero value is that of a world without links.
type linkModel struct {
	disk string
	to   map[string]string // the targets, by name in NFC. In world.there they are no collections.
	// reads are how often something was read through a link, by success
	reads map[bool]int
}

// walk follows all links of a name, in the plainest way. led reports whether there was one, and ok whether a name was
// found.
func (m *linkModel) walk(w *world, name string) (at string, led, ok bool) {
	rest, at := strings.Split(name, "/"), ""
	for steps := 0; len(rest) > 0; steps++ {
		segment := rest[0]
		rest = rest[1:]
		switch {
		case steps > 1000, segment == ".." && at == "":
			return "", led, false
		case segment == "..":
			at, _ = tree.Split(at)
			continue
		case segment == "." || segment == "":
			continue
		case at != "" && !w.there[at]:
			return "", led, false
		}
		at = tree.Join(at, segment)
		if target, is := m.to[at]; is {
			led = true
			at, _ = tree.Split(at)
			rest = append(strings.Split(target, "/"), rest...)
		} else if _, is := w.there[at]; !is {
			return "", led, false
		}
	}
	return at, led, true
}

// passes reports whether a link is on the path to a name.
func (m *linkModel) passes(w *world, name string) bool {
	parent, _ := tree.Split(name)
	for ; parent != ""; parent, _ = tree.Split(parent) {
		if _, is := m.to[parent]; is {
			return true
		}
	}
	return false
}

// at returns the collection that has the members of a name.
func (m *linkModel) at(w *world, name string) string {
	at, _, _ := m.walk(w, name)
	return at
}

// succeeds reports whether an operation on a name with a link succeeds. known is false if world.succeeds finds that out.
func (m *linkModel) succeeds(w *world, op modelOp) (known, succeeds bool) {
	at, led, ok := m.walk(w, op.name)
	_, link := m.to[op.name]
	switch op.method {
	case "GET", "HEAD", "PROPFIND":
		succeeds = ok && w.granted(op.user, at)["read"]
		if op.method == "PROPFIND" {
			succeeds = ok && w.granted(op.user, op.name)["list"] && w.granted(op.user, at)["list"]
		}
		if led {
			m.reads[succeeds]++
		}
		return led, succeeds
	case "COPY", "MOVE":
		_, over := m.to[op.to]
		if m.passes(w, op.to) || op.method == "COPY" && (over || link) {
			return true, false
		}
	case "DELETE":
	default:
		return link || m.passes(w, op.name), false
	}
	return m.passes(w, op.name), false
}

// member returns the name by which a listing of op.name shows what is at a name, and whether it is shown. want says
// whether the name itself is shown.
func (m *linkModel) member(w *world, op modelOp, name string, want bool) (string, bool) {
	_, base := tree.Split(name)
	asked := tree.Join(op.name, base)
	at, led, ok := m.walk(w, asked)
	if led {
		collection := w.there[at]
		want = ok && (w.granted(op.user, asked)["list"] || collection && w.seen(op.user, asked)) && w.granted(op.user, asked)["list"] &&
			w.granted(op.user, at)["list"]
	}
	return asked, want
}

// now returns the tree as it is on the disk, and checks its links.
func (m *linkModel) now(t *testing.T) map[string]bool {
	now := map[string]bool{}
	err := filepath.WalkDir(m.disk, func(path string, entry iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(m.disk, path)
		if name == "." {
			name = ""
		}
		if name == ".ifmatch" {
			return filepath.SkipDir
		}
		name = norm.NFC.String(filepath.ToSlash(name))
		if now[name] = entry.IsDir(); entry.Type() == iofs.ModeSymlink {
			target, err := os.Readlink(path)
			if m.to[name] != target {
				t.Errorf("%s is a link to %s, and not to %q", name, target, m.to[name])
			}
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// add has a local program make links.
func (m *linkModel) add(w *world) {
	if m.disk == "" {
		return
	}
	for range 4 {
		name := w.name()
		parent, _ := tree.Split(name)
		if _, taken := w.there[name]; taken || !w.there[parent] || strings.ContainsAny(parent, "äÄ") {
			continue
		}
		up := strings.Repeat("../", depthOfName(name)-1)
		target := up + []string{w.name(), w.name(), w.name(), "..", "none", name, "", modelNames[w.rand.IntN(len(modelNames))]}[w.rand.IntN(8)]
		if strings.ContainsAny(target, "äÄ") || target == "" { // the disk may have that name in another normal form
			target = "."
		}
		if err := os.Symlink(target, filepath.Join(m.disk, name)); err != nil {
			w.t.Fatal(err)
		}
		w.there[name], m.to[name] = false, target
	}
}

// TestAccessModelWithLinks is [TestAccessModel] on a disk on which a local program makes links: to files and collections,
// to other links, in circles, out of the tree and to nothing.
func TestAccessModelWithLinks(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("NOT RUN: the names of the model are one there")
	}
	seed := uint64(45)
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, seed))}
	w.auth, w.config = openAuthority(t, "")
	w.links = linkModel{disk: t.TempDir(), to: map[string]string{}, reads: map[bool]int{}}
	store := storeOn(t, w.links.disk, fs.Options{Durability: fs.None}, etagfs.Options{})
	lay(t, store, modelLayout...)
	w.store = store
	w.handler = newTestHandler(t, Config{Store: store, Auth: w.auth})
	w.run(*accessOps / 2)
	t.Logf("reads through links: %v", w.links.reads)
	if w.links.reads[true] == 0 || w.links.reads[false] == 0 {
		t.Errorf("links were never read with both ends: %v", w.links.reads)
	}
}
