package etagfs_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A program on the server has a file open for writing.
func TestOpenForWriting(t *testing.T) {
	setup := func(t *testing.T) (v *served, w *os.File) {
		t.Helper()
		v = serve(t, "f=seen", "g=other")
		w, err := os.OpenFile(v.path("f"), os.O_WRONLY|os.O_APPEND, 0)
		v.must(err)
		t.Cleanup(func() { w.Close() })
		return v, w
	}
	write := func(v *served, tag tree.ETag) error { return put(v, "f", "ours", treetest.IfTag("f", tag)) }

	t.Run("a write that names its version does not pass it", func(t *testing.T) {
		v, _ := setup(t)
		err := write(v, treetest.TagOf("seen"))
		if !errors.Is(err, vfs.ErrWriter) || !errors.Is(err, tree.ErrBusy) {
			t.Errorf("got error %v", err)
		}
		if err := v.Remove(ctx, "f", treetest.IfTag("f", treetest.TagOf("seen"))); !errors.Is(err, vfs.ErrWriter) {
			t.Errorf("Remove: got error %v", err)
		}
		v.wantTag("f", "seen")
	})
	t.Run("that it names another version is told first", func(t *testing.T) {
		v, _ := setup(t)
		if err := write(v, treetest.TagOf("never was")); err == nil || errors.Is(err, tree.ErrBusy) {
			t.Errorf("got error %v", err)
		}
	})
	for _, last := range []int{3, 6} {
		t.Run(fmt.Sprintf("it is tried again when the program has finished at try %d", last), func(t *testing.T) {
			v, w := setup(t)
			tries := 0
			v.seam.arm(func(_ int, c vfs.Call) error {
				if c.Op == "lease" && c.Name == "f" {
					if tries++; tries == last {
						return w.Close()
					}
				}
				return nil
			})
			v.must(write(v, treetest.TagOf("seen")))
			if tries < last {
				t.Errorf("it took %d tries", tries)
			}
			v.wantTag("f", "ours")
		})
	}
	t.Run("a write that names none replaces it, and the history has what the program writes", func(t *testing.T) {
		v, w := setup(t)
		v.must(put(v, "f", "ours", tree.Condition{Check: func(view tree.View) error {
			_, err := view.State("f")
			return err
		}}))
		_, err := w.WriteString(" and theirs")
		v.must(err)
		v.wantTag("f", "ours")
		if got := versionsOf(t, v.dir, "f"); !slices.Equal(got, []string{"seen and theirs"}) {
			t.Errorf("the history has %q", got)
		}
	})
}

// What was hashed while a program had the file open for writing lets no write through when that program has gone: here
// it has written through a mapping, of which no time stamp tells.
func TestHashedBesideAWriter(t *testing.T) {
	// The program writes and is gone when somebody takes a lease on what was read so often, or at end.
	setup := func(t *testing.T) (v *served, finish func(reads int, content string) (end func() error)) {
		t.Helper()
		v = serveIn(&served{t: t, dir: quickDir(t), clock: treetest.NewClock()}, "g=other")
		v.must(os.WriteFile(v.path("f"), []byte("seen"), 0o666))
		w, err := os.OpenFile(v.path("f"), os.O_RDWR, 0)
		v.must(err)
		memory, err := unix.Mmap(int(w.Fd()), 0, 4, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		v.must(err)
		copy(memory, "seen") // what changes from now on is stamped already
		finished := false
		finish = func(reads int, content string) (end func() error) {
			end = func() error {
				if finished {
					return nil
				}
				finished = true
				copy(memory, content)
				return errors.Join(unix.Munmap(memory), w.Close())
			}
			v.seam.arm(func(_ int, c vfs.Call) error {
				if c.Name == "f" && c.Op == "readAt" {
					reads--
				}
				if c.Name == "f" && c.Op == "lease" && reads <= 0 {
					return end()
				}
				return nil
			})
			return end
		}
		t.Cleanup(func() {
			if !finished {
				t.Error("the program has never finished")
			}
		})
		return v, finish
	}
	stale := errors.New("stale")
	unless := func(tag tree.ETag) tree.Condition { // If-None-Match
		return treetest.If(func(v tree.View) error {
			state, err := v.State("f")
			switch {
			case err == nil && state.Tag == "":
				err = tree.ErrTagUnknown
			case err == nil && state.Tag == tag:
				err = stale
			}
			return err
		})
	}
	seen, theirs := treetest.TagOf("seen"), treetest.TagOf("THEM")
	for _, tt := range []struct {
		name  string
		reads int // until it is committed
		do    func(v *served, check tree.Condition) error
	}{
		{"Put", 1, func(v *served, check tree.Condition) error { return put(v, "f", "ours, longer", check) }},
		{"Remove", 1, func(v *served, check tree.Condition) error { return v.Remove(ctx, "f", check) }},
		{"Move from it", 1, func(v *served, check tree.Condition) error {
			_, _, err := v.Move(ctx, "f", "new", tree.CopyOptions{}, check)
			return err
		}},
		{"Move it over another", 1, func(v *served, check tree.Condition) error {
			_, _, err := v.Move(ctx, "f", "g", tree.CopyOptions{}, check)
			return err
		}},
		{"Move onto it", 1, func(v *served, check tree.Condition) error {
			_, _, err := v.Move(ctx, "g", "f", tree.CopyOptions{}, check)
			return err
		}},
		{"Copy onto it", 2, func(v *served, check tree.Condition) error {
			_, _, err := v.Copy(ctx, "g", "f", tree.CopyOptions{}, check)
			return err
		}},
	} {
		for name, check := range map[string]tree.Condition{"if it is": treetest.IfTag("f", seen),
			"unless it is": unless(theirs)} {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				v, finish := setup(t)
				finish(tt.reads, "THEM")
				if err := tt.do(v, check); err == nil || errors.Is(err, tree.ErrBusy) {
					t.Errorf("got error %v, want that it is another version", err)
				}
				v.wantTag("f", "THEM")
				v.wantTag("g", "other")
				if got := versionsOf(t, v.dir, "f"); got != nil {
					t.Errorf("the history has %q", got)
				}
			})
			t.Run(tt.name+" "+name+", and it was left as it is", func(t *testing.T) {
				v, finish := setup(t)
				finish(tt.reads, "seen")
				v.must(tt.do(v, check))
			})
		}
	}
	t.Run("a Put of the same content, with a time", func(t *testing.T) {
		v, finish := setup(t)
		end := finish(1, "THEM")
		_, _, err := v.Put(ctx, "f", strings.NewReader("seen"),
			tree.PutOptions{Length: 4, Modified: time.Unix(1_000_000_000, 0)}, tree.Condition{})
		v.must(err, end())
		now, err := os.ReadFile(v.path("f"))
		v.must(err)
		v.wantTag("f", string(now))
	})
}

// A copy is of the version that its condition was about, also where a program writes to that all the time.
func TestCopiedBesideAWriter(t *testing.T) {
	v := serveIn(&served{t: t, dir: quickDir(t), clock: treetest.NewClock()})
	v.must(os.WriteFile(v.path("f"), []byte("seen"), 0o666))
	w, err := os.OpenFile(v.path("f"), os.O_RDWR, 0)
	v.must(err)
	defer w.Close()
	memory, err := unix.Mmap(int(w.Fd()), 0, 4, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	v.must(err)
	copy(memory, "seen") // what changes from now on is stamped already
	reads := 0
	v.seam.arm(func(_ int, c vfs.Call) error {
		switch {
		case c.Op == "readAt" && c.Name == "f":
			if reads++; reads == 2 { // the first is for the condition
				copy(memory, "THEM")
			}
		case c.Op == "tryFlock":
			copy(memory, "seen")
		}
		return nil
	})
	_, _, err = v.Copy(ctx, "f", "g", tree.CopyOptions{}, treetest.IfTag("f", treetest.TagOf("seen")))
	v.seam.arm(nil)
	v.must(err, unix.Munmap(memory))
	v.wantTag("g", "seen")
	if reads < 2 {
		t.Errorf("it was read %d times", reads)
	}
}

// A file that was written a moment ago, and that nobody writes to any more, is read once and waited for by nobody.
func TestWrittenAMomentAgo(t *testing.T) {
	for name, serve := range map[string]func(*testing.T, ...string) *served{"leases": serve,
		"no leases": serveWithoutLeases} {
		t.Run(name, func(t *testing.T) {
			v := serve(t)
			v.must(os.WriteFile(v.path("f"), []byte("theirs"), 0o666))
			v.must(put(v, "f", "ours, longer", treetest.IfTag("f", treetest.TagOf("theirs"))))
			if got := v.reads.Load(); got != 1 {
				t.Errorf("it was read %d times", got)
			}
			v.wantTag("f", "ours, longer")
		})
	}
}

// A program writes to a new version as soon as that has its name, and sets its time back.
func TestWrittenAtTheCommit(t *testing.T) {
	for name, do := range map[string]func(v *served) error{
		"Put": func(v *served) error { return put(v, "f", "ours", tree.Condition{}) },
		"Put over": func(v *served) error {
			return errors.Join(put(v, "f", "before", tree.Condition{}), put(v, "f", "ours", tree.Condition{}))
		},
		"Copy": func(v *served) error { return copyTo("g", "f")(v) },
		// The tag of g is known, and must not be carried over.
		"Move": func(v *served) error { return move("g", "f")(v) },
		"Move over": func(v *served) error {
			return errors.Join(put(v, "f", "before", tree.Condition{}),
				move("g", "f")(v))
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := serveIn(&served{t: t, dir: quickDir(t), clock: treetest.NewClock()}, "g=ours")
			wrote := make(chan error, 1)
			begun := false
			v.seam.arm(func(_ int, c vfs.Call) error {
				content, err := os.ReadFile(v.path("f"))
				if begun || err != nil || string(content) != "ours" {
					return nil
				}
				begun = true
				if err := v.rewrite("f", "THEM", unix.O_NONBLOCK); errors.Is(err, unix.EAGAIN) {
					go func() { wrote <- v.rewrite("f", "THEM", 0) }() // it waits for our lease to end
				} else {
					wrote <- err
				}
				return nil
			})
			v.must(do(v), <-wrote)
			v.seam.arm(nil)
			v.wantTag("f", "THEM")
		})
	}
}

// A program writes to a file while its properties, its mode or its name change, and sets its time back: the time of
// change, which tells of that, is moved by what we do as well.
func TestWrittenWhenOtherThingsChange(t *testing.T) {
	executable := true
	for name, do := range map[string]func(v *served) error{
		"properties": func(v *served) error { return v.PatchProperties(ctx, "f", patch("p", "1"), tree.Condition{}) },
		"mode": func(v *served) error {
			return v.PatchProperties(ctx, "f", tree.Patch{Executable: &executable}, tree.Condition{})
		},
		"properties and time": func(v *served) error {
			p := patch("p", "1")
			p.Modified = time.Unix(1_000_000_000, 0)
			return v.PatchProperties(ctx, "f", p, tree.Condition{})
		},
		"name": func(v *served) error { return move("f", "g")(v) },
	} {
		// just before our first call of that sort
		for _, op := range []string{"open", "setAttr", "chmod", "renameNew"} {
			t.Run(name+", before "+op, func(t *testing.T) {
				v := serveIn(&served{t: t, dir: quickDir(t), clock: treetest.NewClock()}, "f=ours")
				v.wantTag("f", "ours")
				wrote := make(chan error, 1)
				begun := false
				v.seam.arm(func(_ int, c vfs.Call) error {
					if begun || c.Op != op || c.Name != "f" {
						return nil
					}
					begun = true
					wrote <- v.rewrite("f", "THEM", unix.O_NONBLOCK)
					return nil
				})
				v.must(do(v))
				v.seam.arm(nil)
				if !begun {
					return
				}
				want := "THEM"
				if err := <-wrote; errors.Is(err, unix.EAGAIN) {
					want = "ours" // it would have waited for our lease, and comes too late now
				} else {
					v.must(err)
				}
				if name == "name" {
					v.wantTag("g", want)
				} else {
					v.wantTag("f", want)
				}
			})
		}
	}
}

// rewrite writes over a file as a program on the disk does, and sets its time back.
func (v *served) rewrite(name, content string, flags int) error {
	info, err := os.Stat(v.path(name))
	if err != nil {
		return err
	}
	w, err := os.OpenFile(v.path(name), os.O_WRONLY|flags, 0)
	if err != nil {
		return err
	}
	_, err = w.WriteString(content)
	return errors.Join(err, w.Close(), os.Chtimes(v.path(name), info.ModTime(), info.ModTime()))
}

// A program on the disk can read a version in the instant before that is taken back, because another one has come
// between. The write is refused, so what the program replaces by what it has made of that is what was there before: it
// has not seen it, and nobody but it could know. Clients of the server see nothing of that.
func TestReadOfWhatIsTakenBack(t *testing.T) {
	v := serve(t, "f=seen")
	local := func(content string) {
		v.must(os.WriteFile(v.path("theirs"), []byte(content), 0o666), os.Rename(v.path("theirs"), v.path("f")))
	}
	exchanges := 0
	var read []byte
	v.seam.arm(func(_ int, c vfs.Call) error {
		switch {
		case c.Op == "exchange":
			if exchanges++; exchanges == 1 {
				local("between") // after the look at what is to be replaced
			}
		case exchanges == 1 && read == nil:
			content, err := os.ReadFile(v.path("f"))
			v.must(err)
			read = content
		}
		return nil
	})
	if err := put(v, "f", "ours", treetest.IfTag("f", treetest.TagOf("seen"))); err == nil ||
		errors.Is(err, tree.ErrBusy) {
		t.Errorf("got error %v, want that it is another version", err)
	}
	v.seam.arm(nil)
	if string(read) != "ours" || exchanges != 2 {
		t.Errorf("a program has read %q, after %d exchanges", read, exchanges)
	}
	v.wantTag("f", "between")
	if got := versionsOf(t, v.dir, "f"); got != nil {
		t.Errorf("the history has %q", got)
	}
}
