package etagfs_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

var update = flag.Bool("update", false, "write the golden traces anew")

// TestTrace compares the system calls of each kind of commit with testdata/trace: in those one can read that the
// content is synced before it gets its name, and the name after, and that a MOVE and a DELETE are one rename.
func TestTrace(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			lines := trace(t, k, fs.Full)
			wantGolden(t, k.name, lines)
			wantDurable(t, k, lines)
			wantLocksSynced(t, lines)
			if strings.HasPrefix(k.name, "move-") {
				wantMoveBounded(t, lines)
			}
		})
	}
	for _, k := range kinds() {
		for _, d := range []fs.Durability{fs.Data, fs.None} {
			t.Run(fmt.Sprint(k.name, " ", d), func(t *testing.T) {
				lines := trace(t, k, d)
				switch k.name {
				case "put-over", "copy-tree-new", "move-tree-over-tree", "patch-file", "unlock":
					wantGolden(t, fmt.Sprint(k.name, ".", d), lines)
				}
				if d == fs.Data {
					wantLocksSynced(t, lines)
					wantContentFirst(t, lines, content...)
				} else if i := slices.IndexFunc(lines,
					func(line string) bool { return strings.HasPrefix(line, "sync") }); i >= 0 {
					t.Errorf("it waits for the disk: %s", lines[i])
				}
			})
		}
	}
}

func trace(t *testing.T, k kind, d fs.Durability) (lines []string) {
	t.Helper()
	seam := seam{lacks: k.lacks}
	clock := treetest.NewClock() // one hour
	below, err := fs.Open(quickDir(t), fs.Options{Before: seam.before, Durability: d, Now: clock.Now, History: true})
	if err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Minute) // no file is written in the second of a commit: each date is set
	s, err := etagfs.New(below, etagfs.Options{Now: func() time.Time { return later }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// The directories of the hour and of moves are there, as they are nearly always.
	err = errors.Join(lay("w=1", "v=2")(s), move("v", "w")(s), s.Remove(ctx, "w", tree.Condition{}), k.setup(s))
	if err != nil {
		t.Fatal(err)
	}
	normal := normalizer{}
	seam.arm(func(_ int, c vfs.Call) error {
		lines = append(lines, normal.replace(c.String()))
		return nil
	})
	err = k.do(s)
	seam.arm(nil)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestNothingIsSyncedUnderTheLockInANewHour: the first commit of an hour makes a directory of the history, also if the
// hour begins when the commit has the lock. It puts the name on the disk without the lock.
func TestNothingIsSyncedUnderTheLockInANewHour(t *testing.T) {
	for _, k := range kinds() {
		if k.gone == "" {
			continue
		}
		for begins, at := range map[string]string{"before": "", "under the lock": "tryFlock .ifmatch/lock"} {
			t.Run(k.name+" "+begins, func(t *testing.T) {
				seam, dir := seam{lacks: k.lacks}, quickDir(t)
				clock := treetest.NewClock()
				below, err := fs.Open(dir, fs.Options{Before: seam.before, Now: clock.Now, History: true})
				if err != nil {
					t.Fatal(err)
				}
				s, err := etagfs.New(below, etagfs.Options{Now: clock.Now})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if err := k.setup(s); err != nil {
					t.Fatal(err)
				}
				if at == "" {
					clock.Advance(time.Hour)
				}
				var calls []vfs.Call
				seam.arm(func(_ int, c vfs.Call) error {
					if calls = append(calls, c); strings.HasPrefix(c.Op, "sync") && anyLocked(t, dir) {
						waitForNoDisk(t, []vfs.Call{c})
					}
					if c.String() == at {
						clock.Advance(time.Hour)
					}
					return nil
				})
				err = k.do(s)
				seam.arm(nil)
				if err != nil {
					t.Fatal(err)
				}
				has := func(call string) bool {
					return slices.ContainsFunc(calls, func(c vfs.Call) bool { return strings.HasPrefix(c.String(), call) })
				}
				if (at == "" || has("mkdir .ifmatch/history/")) && !has("syncDir .ifmatch/history") {
					t.Errorf("the directory is not put on the disk:\n%v", calls)
				}
			})
		}
	}
}

// A normalizer gives names of one session the names they would have in every one.
type normalizer map[string]string

var ours = regexp.MustCompile(`\.ifmatch/(?:stage|trash|history|moving)/[-0-9a-f]+(?:/[nmrd][-0-9a-f]+)?`)

func (n normalizer) replace(line string) string {
	return ours.ReplaceAllStringFunc(line, func(name string) string {
		short, ok := n[name]
		if !ok {
			switch part := strings.Split(name, "/"); {
			case part[1] == "trash", part[1] == "moving":
				short = fmt.Sprintf("%s/%d", strings.ToUpper(part[1]), len(n)+1)
			case len(part) == 3:
				return strings.ToUpper(part[1])
			case part[1] == "history":
				short = fmt.Sprintf("HISTORY/%c%d", part[3][0], len(n)+1)
			default:
				short = fmt.Sprintf("STAGE/%c%d", part[3][0], len(n)+1)
			}
			n[name] = short
		}
		return short
	})
}

func wantGolden(t *testing.T, name string, lines []string) {
	t.Helper()
	file := filepath.Join("testdata", "trace", name+".txt")
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the calls are\n%s\nwant, by %s,\n%s", got, file, want)
	}
}

// content are the calls that write it.
var content = []string{"create", "write", "clone", "copyRange", "extend"}

// wantContentFirst asserts that what such calls write is synced before it gets its name. It returns where in the trace
// that is, and what was written and is synced in the end.
func wantContentFirst(t *testing.T, lines []string, calls ...string) (swap int, synced map[string]bool) {
	t.Helper()
	synced = map[string]bool{}
	swap = -1
	for i, line := range lines {
		op, rest, _ := strings.Cut(line, " ")
		if slices.Contains(calls, op) {
			synced[rest] = false
		}
		switch op {
		case "sync", "syncDir":
			synced[rest] = true
		case "syncAll":
			for name := range synced {
				synced[name] = true
			}
		case "rename", "renameNew":
			from, _, _ := strings.Cut(rest, " -> ")
			if done, written := synced[from]; written && !done {
				t.Errorf("%s: not synced before", line)
			}
			if !strings.Contains(rest, "-> TRASH") || swap < 0 {
				swap = i
			}
		}
	}
	return swap, synced
}

// maxMoveCalls is for how many system calls a move that replaces something holds the lock of the directory.
const maxMoveCalls = 20

// wantMoveBounded asserts of a move that replaces something by an exchange that its note is on disk before the lock is
// taken, and that few calls and no sync are made under the lock.
func wantMoveBounded(t *testing.T, lines []string) {
	t.Helper()
	locked, last := slices.Index(lines, "tryFlock .ifmatch/lock"), slices.Index(lines, "truncate .ifmatch/lock")
	if last < 0 {
		return
	}
	noted, named := slices.Index(lines, "sync MOVING/1"), slices.Index(lines, "syncDir .ifmatch/moving")
	if noted < 0 || named < noted || locked < named {
		t.Errorf("the note is synced at call %d, its name at %d, and the lock is taken at %d", noted, named, locked)
	}
	if n := last - locked + 1; n > maxMoveCalls {
		t.Errorf("it makes %d calls under the lock, and may make %d", n, maxMoveCalls)
	}
	for _, line := range lines[locked:last] {
		if strings.HasPrefix(line, "sync") {
			t.Errorf("under the lock it waits for the disk: %s", line)
		}
	}
	for _, line := range lines[last+1:] {
		op, rest, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(op, "sync") && op != "open" && rest != "MOVING/1" {
			t.Errorf("after the mark is cleared: %s", line)
		}
	}
}

// wantLocksSynced asserts that what is written of locks is on disk at the end.
func wantLocksSynced(t *testing.T, lines []string) {
	t.Helper()
	written, synced := slices.Index(lines, "write .ifmatch/locks"), slices.Index(lines, "sync .ifmatch/locks")
	if written >= 0 && synced < written {
		t.Error("what is written of locks is not synced")
	}
}

// wantDurable asserts of a trace what its golden file is read for: what is written is synced before it gets its name,
// and after that a directory is synced.
func wantDurable(t *testing.T, k kind, lines []string) {
	t.Helper()
	swap, synced := wantContentFirst(t, lines, append(slices.Clip(content), "setAttr", "chmod", "chown")...)
	if swap < 0 {
		return // a mkdir or a patch
	}
	if done, written := synced["HISTORY/paths"]; written && !done {
		t.Error("what is noted of the history is not synced")
	}
	if !slices.ContainsFunc(lines[swap:], func(line string) bool { return strings.HasPrefix(line, "syncDir ") }) {
		t.Errorf("no directory is synced after %s", lines[swap])
	}
	renames := 0
	for _, line := range lines {
		if strings.HasPrefix(line, "rename") {
			renames++
		}
	}
	switch k.name {
	case "put-new", "put-over", "remove-file", "remove-tree", "move-file-new", "move-file-over-file", "move-tree-new",
		"copy-tree-new":
		if renames != 1 {
			t.Errorf("it takes %d renames", renames)
		}
	}
}
