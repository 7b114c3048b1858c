package etagfs_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A kind is a kind of commit. Fault, death and trace tests go through all of them.
type kind struct {
	name  string
	setup func(s tree.Store) error // on an empty tree
	do    func(s tree.Store) error

	// gone is a file whose old content is in the history after it; "" where nothing gives way.
	gone string
	// mounts are names at which another file system is mounted.
	mounts []string
	// lacks are system calls that the file system below does not know.
	lacks []string

	// between, if not nil, makes a tree that may be left too where the process dies, or the disk does: two names cannot
	// change at one instant.
	between func(s tree.Store) error
}

var (
	ctx = context.Background()
	// forever is when locks expire here, and token stands for the one lock there is.
	forever = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// lay makes a layout: "d/" is a collection, "f=content" a file, "f+" gives f a property, "f*" a large one, "f!" locks
// it.
func lay(layout ...string) func(tree.Store) error {
	return func(s tree.Store) error {
		for _, line := range layout {
			var err error
			if name, ok := strings.CutSuffix(line, "/"); ok {
				_, err = s.Mkdir(ctx, name, tree.MkdirOptions{}, tree.Condition{})
			} else if name, ok := strings.CutSuffix(line, "+"); ok {
				err = s.PatchProperties(ctx, name, patch("p", "of "+name), tree.Condition{})
			} else if name, ok := strings.CutSuffix(line, "*"); ok {
				err = s.PatchProperties(ctx, name, patchLarge("p", name), tree.Condition{})
			} else if name, ok := strings.CutSuffix(line, "!"); ok {
				_, _, err = s.Lock(ctx, tree.LockRequest{Root: name, Timeout: time.Until(forever)}, tree.Condition{})
			} else {
				name, content, _ := strings.Cut(line, "=")
				err = put(s, name, content, tree.Condition{})
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func put(s tree.Store, name, content string, check tree.Condition) error {
	_, _, err := s.Put(ctx, name, strings.NewReader(content), tree.PutOptions{Length: int64(len(content))}, check)
	return err
}

func patch(name, value string) tree.Patch {
	return tree.Patch{Properties: []webdav.Proppatch{{Props: []webdav.Property{{
		XMLName: xml.Name{Space: "urn:test", Local: name}, InnerXML: []byte(value),
	}}}}}
}

// patchLarge is of more than an attribute holds.
func patchLarge(name, value string) tree.Patch { return patch(name, strings.Repeat(value+" ", 4<<10)) }

func move(from, to string) func(tree.Store) error {
	return func(s tree.Store) error {
		_, _, err := s.Move(ctx, from, to, tree.CopyOptions{}, tree.Condition{})
		return err
	}
}

func copyTo(from, to string) func(tree.Store) error {
	return func(s tree.Store) error {
		_, _, err := s.Copy(ctx, from, to, tree.CopyOptions{}, tree.Condition{})
		return err
	}
}

func lock(name string) func(tree.Store) error {
	return func(s tree.Store) error {
		_, _, err := s.Lock(ctx, tree.LockRequest{Root: name, Timeout: time.Until(forever)}, tree.Condition{})
		return err
	}
}

// withToken does something with the token of the lock on f.
func withToken(do func(s tree.Store, token string) error) func(tree.Store) error {
	return func(s tree.Store) error {
		state, err := s.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantLocks})
		if err != nil {
			return err
		}
		return do(s, state.Locks[0].Token)
	}
}

func kinds() []kind {
	// One member each: what order a listing has is the disk's affair.
	source := []string{"s/", "s+", "s/b/", "s/b/c=2", "s/b/c+"}
	with := func(more ...string) func(tree.Store) error { return lay(append(source, more...)...) }
	return []kind{
		{name: "put-new", setup: lay("d/"),
			do: func(s tree.Store) error { return put(s, "d/f", "new", tree.Condition{}) }},
		{name: "put-over", gone: "f", setup: lay("f=old"),
			do: func(s tree.Store) error { return put(s, "f", "new", tree.Condition{}) }},
		{name: "put-over-if", gone: "f", setup: lay("f=old"), do: func(s tree.Store) error {
			s.(*etagfs.Store).Distrust()
			return put(s, "f", "newer", treetest.IfTag("f", treetest.TagOf("old")))
		}},
		{name: "put-over-properties", gone: "f", setup: lay("f=old", "f+"),
			do: func(s tree.Store) error { return put(s, "f", "new", tree.Condition{}) }},
		{name: "put-same", setup: lay("f=old", "f+"),
			do: func(s tree.Store) error { return put(s, "f", "old", tree.Condition{}) }},
		{name: "put-same-modified", setup: lay("f=old"), do: func(s tree.Store) error {
			_, _, err := s.Put(ctx, "f", strings.NewReader("old"), tree.PutOptions{Length: 3, Modified: forever},
				tree.Condition{})
			return err
		}},
		{name: "mkdir", setup: lay("d/"), do: func(s tree.Store) error {
			_, err := s.Mkdir(ctx, "d/e", tree.MkdirOptions{}, tree.Condition{})
			return err
		}},
		{name: "mkdir-modified", setup: lay("d/"), do: func(s tree.Store) error {
			_, err := s.Mkdir(ctx, "d/e", tree.MkdirOptions{Modified: forever}, tree.Condition{})
			return err
		}},
		{name: "remove-file", gone: "f", setup: lay("f=old"),
			do: func(s tree.Store) error { return s.Remove(ctx, "f", tree.Condition{}) }},
		{name: "remove-if", gone: "f", setup: lay("f=old"), do: func(s tree.Store) error {
			return s.Remove(ctx, "f", treetest.IfTag("f", treetest.TagOf("old")))
		}},
		{name: "remove-tree", gone: "s/b/c", setup: with(),
			do: func(s tree.Store) error { return s.Remove(ctx, "s", tree.Condition{}) }},
		{name: "remove-locked", gone: "f", setup: lay("f=old", "f!"),
			do: func(s tree.Store) error { return s.Remove(ctx, "f", tree.Condition{}) }},
		{name: "move-file-new", setup: lay("f=1", "f+", "d/"), do: move("f", "d/g")},
		{name: "move-if", setup: lay("f=1", "d/"), do: func(s tree.Store) error {
			_, _, err := s.Move(ctx, "f", "d/g", tree.CopyOptions{}, treetest.IfTag("f", treetest.TagOf("1")))
			return err
		}},
		{name: "move-over-if", gone: "g", setup: lay("f=1", "g=2"), do: func(s tree.Store) error {
			_, _, err := s.Move(ctx, "f", "g", tree.CopyOptions{}, treetest.IfTag("f", treetest.TagOf("1")))
			return err
		}},
		{name: "move-file-over-file", gone: "g", setup: lay("f=1", "g=2", "g+"), do: move("f", "g")},
		{name: "move-modified", setup: lay("f=1"), do: func(s tree.Store) error {
			_, _, err := s.Move(ctx, "f", "g", tree.CopyOptions{Modified: forever}, tree.Condition{})
			return err
		}},
		{name: "move-file-over-tree", gone: "s/b/c", setup: with("f=1"), do: move("f", "s")},
		{name: "move-tree-new", setup: with("d/"), do: move("s", "d/t")},
		{name: "move-tree-over-file", gone: "f", setup: with("f=1"), do: move("s", "f")},
		{name: "move-tree-over-tree", gone: "t/x", setup: with("t/", "t/x=9"), do: move("s", "t")},
		{name: "move-tree-over-tree-no-exchange", lacks: []string{"exchange"}, gone: "t/x", setup: with("t/", "t/x=9"),
			do: move("s", "t")},
		{name: "copy-file-new", setup: lay("f=1", "f+"), do: copyTo("f", "g")},
		{name: "copy-file-over-file", gone: "g", setup: lay("f=1", "g=2", "g+"), do: copyTo("f", "g")},
		{name: "copy-large", setup: lay("f=" + strings.Repeat("0123456789", 10_000)), do: copyTo("f", "g")},
		{name: "copy-tree-large", setup: lay("s/", "s/b/", "s/b/large="+strings.Repeat("0123456789", 10_000)),
			do: copyTo("s", "t")},
		{name: "copy-tree-new", setup: with("d/"), do: copyTo("s", "d/t")},
		{name: "copy-tree-over-tree", gone: "t/x", setup: with("t/", "t/x=9"), do: copyTo("s", "t")},
		{name: "copy-tree-over-tree-no-exchange", lacks: []string{"exchange"}, gone: "t/x", setup: with("t/", "t/x=9"),
			do: copyTo("s", "t")},
		{name: "put-over-if-no-exchange", lacks: []string{"exchange"}, gone: "f", setup: lay("f=old"),
			do: func(s tree.Store) error {
				return put(s, "f", "newer", treetest.IfTag("f", treetest.TagOf("old")))
			}},
		{name: "put-over-if-no-lease", lacks: []string{"lease"}, gone: "f", setup: lay("f=old"),
			do: func(s tree.Store) error {
				return put(s, "f", "newer", treetest.IfTag("f", treetest.TagOf("old")))
			}},
		{name: "lock", setup: lay("f=1"), do: lock("f")},
		{name: "lock-nothing", setup: lay("d/"), do: lock("d/new"),
			between: lay("d/", "d/new=")}, // the file, and nobody has its lock
		{name: "refresh", setup: lay("f=1", "f!"), do: withToken(func(s tree.Store, token string) error {
			_, err := s.Refresh(ctx, "f", []string{token}, time.Until(forever)+time.Hour, tree.Condition{})
			return err
		})},
		{name: "unlock", setup: lay("f=1", "f!"),
			do: withToken(func(s tree.Store,
				token string) error {
				return s.Unlock(ctx, "f", token, tree.Condition{})
			})},
		{name: "patch-file", setup: lay("f=1"),
			do: func(s tree.Store) error { return s.PatchProperties(ctx, "f", patch("a", "1"), tree.Condition{}) }},
		{name: "patch-modified", setup: lay("f=1"), do: func(s tree.Store) error {
			p := patch("a", "1")
			p.Modified = forever
			return s.PatchProperties(ctx, "f", p, tree.Condition{})
		}},
		{name: "patch-large", setup: lay("f=1", "f+"), do: func(s tree.Store) error {
			return s.PatchProperties(ctx, "f", patchLarge("q", "v"), tree.Condition{})
		}},
		{name: "patch-large-again", setup: lay("f=1", "f*", "g=2", "g*"), do: func(s tree.Store) error {
			return s.PatchProperties(ctx, "f", patchLarge("p", "g"), tree.Condition{}) // there already, for g
		}},
		{name: "put-over-large-properties", gone: "f", setup: lay("f=old", "f*"),
			do: func(s tree.Store) error { return put(s, "f", "new", tree.Condition{}) }},
		{name: "copy-tree-large-properties", setup: lay("s/", "s*", "s/b=1", "s/b*"), do: copyTo("s", "t")},
		{name: "patch-collection", setup: lay("d/", "d+"),
			do: func(s tree.Store) error { return s.PatchProperties(ctx, "d", patch("p", "2"), tree.Condition{}) }},
	}
}

// nestedKinds are commits on a file system that is mounted at m.
func nestedKinds() []kind {
	with := func(more ...string) func(tree.Store) error {
		return lay(append([]string{"s/", "s+", "s/b/", "s/b/c=2", "s/b/c+"}, more...)...)
	}
	kinds := []kind{
		{name: "nested-put-first", setup: lay(),
			do: func(s tree.Store) error { return put(s, "m/f", "new", tree.Condition{}) }},
		{name: "nested-put-over-if", gone: "m/f", setup: lay("m/f=old"), do: func(s tree.Store) error {
			return put(s, "m/f", "newer", treetest.IfTag("m/f", treetest.TagOf("old")))
		}},
		{name: "nested-put-over-no-exchange", lacks: []string{"exchange"}, gone: "m/f", setup: lay("m/f=old"),
			do: func(s tree.Store) error {
				return put(s, "m/f", "newer", tree.Condition{})
			}},
		{name: "nested-remove-tree", gone: "m/d/f", setup: lay("m/d/", "m/d/f=1"),
			do: func(s tree.Store) error { return s.Remove(ctx, "m/d", tree.Condition{}) }},
		{name: "nested-move-tree-over-no-exchange", lacks: []string{"exchange"}, gone: "m/t/x",
			setup: lay("m/s/", "m/s/f=1", "m/t/", "m/t/x=2"),
			do:    move("m/s", "m/t")},
		{name: "nested-move-over", gone: "m/g", setup: lay("m/f=1", "m/g=2"), do: move("m/f", "m/g")},
		{name: "nested-copy-in", setup: lay("s/", "s/f=1", "m/g=2"), do: copyTo("s", "m/s")},
		{name: "nested-copy-in-large-properties", setup: lay("f=1", "f*"), do: copyTo("f", "m/f")},
		// The copy and what it is of can both be there.
		{name: "nested-move-in", gone: "f", setup: lay("f=1", "f+", "m/x=0"), do: move("f", "m/f"),
			between: func(s tree.Store) error {
				return errors.Join(lay("f=1", "f+", "m/x=0")(s),
					copyTo("f", "m/f")(s))
			}},
		{name: "nested-move-out-over", gone: "g", setup: lay("m/f=1", "g=2"), do: move("m/f", "g"),
			between: lay("m/f=1", "g=1")},
		{name: "nested-move-tree-in", gone: "s/b/c", setup: with("m/x=0"), do: move("s", "m/s"),
			between: func(s tree.Store) error { return errors.Join(with("m/x=0")(s), copyTo("s", "m/s")(s)) }},
	}
	for i := range kinds {
		kinds[i].mounts = []string{"m"}
	}
	return kinds
}

// A seam counts the system calls of what a test does, and may interfere with them.
type seam struct {
	mu    sync.Mutex
	armed func(n int, c vfs.Call) error // nil: calls just happen
	lacks []string                      // what is not known below
	n     int
}

func (s *seam) arm(interfere func(n int, c vfs.Call) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.n = interfere, 0
}

func (s *seam) before(c vfs.Call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.lacks, c.Op) {
		return errors.ErrUnsupported
	}
	if s.armed == nil || isBackground(c) {
		return nil
	}
	s.n++
	return s.armed(s.n, c)
}

// isBackground reports whether a call is of the goroutine that empties the trash, at a time of its own, or can be.
func isBackground(c vfs.Call) bool {
	if c.Op == "space" && c.Name != "." {
		return true // whether what is mounted there answers
	}
	return strings.Contains(c.Name, ".ifmatch/trash") && (c.Op == "open" || c.Op == "names" || c.Op == "removeAll")
}

// changesDisk reports whether a call can change what is found after the death of the process.
func changesDisk(c vfs.Call) bool {
	switch c.Op {
	case "create", "appendTo", "mkdir", "symlink", "link", "rename", "renameNew", "exchange", "remove", "removeAll",
		"chtimes", "write", "chmod", "chown", "setAttr", "clone", "copyRange", "extend", "truncate":
		return true
	}
	return false
}

var token = regexp.MustCompile(`urn:uuid:[-0-9a-f]+`)

// snapshot returns all that can be seen of a tree.
func snapshot(t testing.TB, s tree.Store) string {
	t.Helper()
	text := token.ReplaceAllString(strings.Join(treetest.Snapshot(t, s), "\n"), "token")
	return expiry.ReplaceAllString(text, "$1")
}

// expiry is when a lock ends, by the clock of its store: to the hour, it is the same in each tree.
var expiry = regexp.MustCompile(`(Expires:\S+ \d\d):[\d:.]+`)

// quickDir returns a directory for a test that makes many trees: in memory, where that is to be had, since syncing them
// all takes minutes, and is not what is tested.
func quickDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ifmatch-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// dirOf returns a quick directory for a kind of commit; or where TMPDIR says, if it is about mounts and that is on
// Btrfs.
func dirOf(t testing.TB, k kind) string {
	t.Helper()
	dir := ""
	if k.mounts != nil && onBtrfs(os.TempDir()) {
		dir = t.TempDir()
	} else {
		dir = quickDir(t)
	}
	for _, name := range k.mounts {
		mountAt(t, filepath.Join(dir, name))
	}
	return dir
}

// litter returns what is in the staging directories, in the trash, and noted as under way.
func litter(t testing.TB, dir string) (left []string) {
	t.Helper()
	filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			t.Error(err)
		}
		rest, _ := filepath.Rel(dir, name)
		if inState.MatchString(rest) {
			left = append(left, rest)
		}
		return nil
	})
	return left
}

var inState = regexp.MustCompile(`(^|/)\.ifmatch/(stage|trash|moving)/`)

// openQuietly opens a store whose background troubles are nobody's.
func openQuietly(t testing.TB, dir string, opts fs.Options) *etagfs.Store {
	t.Helper()
	opts.History = true
	below, err := fs.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	s, err := etagfs.New(below, etagfs.Options{Journal: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// versionsOf returns the contents that the history has of a file, the oldest first.
func versionsOf(t testing.TB, dir, name string) (contents []string) {
	t.Helper()
	below, err := fs.Open(dir, fs.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	kept, err := below.History(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kept {
		f, info, err := below.OpenKept(k)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(io.NewSectionReader(f, 0, info.Size))
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, string(content))
	}
	return contents
}
