package etagfs_test

import (
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"ifmatch/etagfs"
	"ifmatch/fs"
)

// A paused store is one whose system calls a test may come before.
type paused struct {
	*etagfs.Store
	below *fs.FS

	mu     sync.Mutex
	before func(c fs.Call) // nil: calls just happen
	busy   bool            // with before
}

// come has do called before each system call from now on (nil: before none), but not before those of do itself, nor of
// what it starts and waits for.
func (p *paused) come(do func(c fs.Call)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = do
}

func (p *paused) call(c fs.Call) {
	p.mu.Lock()
	do := p.before
	// The locks in memory wait for the file when it has changed, or is being changed.
	if do == nil || p.busy || isBackground(c) || c.Name == ".ifmatch/locks" && c.Op != "lstat" {
		p.mu.Unlock()
		return
	}
	p.busy = true
	p.mu.Unlock()
	do(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = false
}

func openPaused(t *testing.T, dir string, lacks ...string) *paused {
	t.Helper()
	p := &paused{}
	below, err := fs.Open(dir, fs.Options{Durability: fs.Full, History: true, Before: func(c fs.Call) error {
		if slices.Contains(lacks, c.Op) {
			return errors.ErrUnsupported
		}
		p.call(c)
		return nil
	}})
	if err == nil {
		p.below = below
		p.Store, err = etagfs.New(below, etagfs.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.come(nil); p.Close() })
	return p
}

// isChanging reports whether readers wait, at the root or at what is mounted in the tree.
func (p *paused) isChanging(k kind) bool {
	for _, at := range append([]string{""}, k.mounts...) {
		if p.below.IsChanging(path.Join(at, "x")) {
			return true
		}
	}
	return false
}

// changesNames reports whether a call changes what a reader can see of a user's name, and of which.
func changesNames(c fs.Call) (name string, ok bool) {
	switch c.Op {
	case "mkdir", "symlink", "rename", "renameNew", "exchange", "remove", "chtimes", "setAttr":
		for _, name := range []string{c.Name, c.To} {
			if name != "" && !strings.Contains("/"+name+"/", "/.ifmatch/") {
				return name, true
			}
		}
	}
	return "", false
}

// TestReadersSeeNoCommitInTheMiddle has all of the tree read before each system call of each kind of commit. A reader
// sees all of it as it was, or all as it is after the commit; where names are in the middle, it waits.
func TestReadersSeeNoCommitInTheMiddle(t *testing.T) {
	for _, k := range append(kinds(), nestedKinds()...) {
		t.Run(k.name, func(t *testing.T) {
			begin := func() *paused {
				p := openPaused(t, dirOf(t, k), k.lacks...)
				if err := k.setup(p.Store); err != nil {
					t.Fatal(err)
				}
				return p
			}
			p := begin()
			before := snapshot(t, p.Store)
			waits, waited := false, make(chan string, 1)
			p.come(func(fs.Call) {
				if !p.isChanging(k) {
					if got := snapshot(t, p.Store); got != before {
						t.Errorf("before anything has changed, a reader sees\n%s\nand it was\n%s", got, before)
					}
					return
				}
				p.come(nil)
				waits = true
				go func() { waited <- snapshot(t, p.Store) }()
			})
			if err := k.do(p.Store); err != nil {
				t.Fatal(err)
			}
			p.come(nil)
			after := snapshot(t, p.Store)
			switch {
			case waits:
				// It sees what was before if that was a try in vain. It takes several requests for all that it sees, and not all
				// of them have waited where two volumes change.
				if got := <-waited; got != before && got != after && k.between == nil {
					t.Errorf("a reader that has waited sees\n%s\nwant\n%s\nor\n%s", got, before, after)
				}
			case before != after:
				t.Error("no reader has waited")
			}

			p = begin()
			changed := false
			p.come(func(c fs.Call) {
				if name, ok := changesNames(c); ok && !p.below.IsChanging(name) {
					t.Errorf("%v: and no reader waits", c)
				}
				if p.isChanging(k) {
					return
				}
				got := snapshot(t, p.Store)
				if changed = changed || got != before; changed && got != after {
					t.Errorf("before %v, a reader sees\n%s\nwant\n%s", c, got, after)
				}
			})
			err := k.do(p.Store)
			p.come(nil)
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
