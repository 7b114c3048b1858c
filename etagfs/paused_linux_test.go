package etagfs_test

import (
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A paused store is one whose system calls a test may come before.
type paused struct {
	*etagfs.Store
	below *fs.FS
	dir   string

	mu     sync.Mutex
	before func(c vfs.Call) // nil: calls just happen
	busy   bool             // with before
	hangs  func(c vfs.Call) bool
	hung   chan vfs.Call // gets the calls that hang
	end    chan struct{} // closed when they go on
}

// hang has those calls hang from now on that are chosen, as on a disk that does not answer. end has them go on.
func (p *paused) hang(which func(c vfs.Call) bool) (hung <-chan vfs.Call, end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangs, p.hung, p.end = which, make(chan vfs.Call, 100), make(chan struct{})
	return p.hung, sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hangs = nil
		close(p.end)
	})
}

// come has do called before each system call from now on (nil: before none), but not before those of do itself, nor of
// what it starts and waits for.
func (p *paused) come(do func(c vfs.Call)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = do
}

func (p *paused) call(c vfs.Call) {
	p.mu.Lock()
	if p.hangs != nil && p.hangs(c) {
		hung, end := p.hung, p.end
		p.mu.Unlock()
		hung <- c
		<-end
		return
	}
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
	p := (&paused{}).open(t, dir, lacks...)
	t.Cleanup(func() { p.come(nil); p.Close() })
	return p
}

func (p *paused) open(t *testing.T, dir string, lacks ...string) *paused {
	t.Helper()
	below, err := fs.Open(dir, fs.Options{Durability: fs.Full, History: true, Before: func(c vfs.Call) error {
		if slices.Contains(lacks, c.Op) {
			return errors.ErrUnsupported
		}
		p.call(c)
		return nil
	}})
	if err == nil {
		p.below, p.dir = below, dir
		p.Store, err = etagfs.New(below, etagfs.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
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

// changesNames reports whether a call changes what a reader can see of a user's name, and of which. A rename of a name
// to itself changes nothing.
func changesNames(c vfs.Call) (name string, ok bool) {
	if c.Name == c.To {
		return "", false
	}
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
