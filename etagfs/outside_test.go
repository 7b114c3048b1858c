//go:build unix

package etagfs_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

func TestEditsBehindItsBack(t *testing.T) {
	for _, edit := range []struct {
		name string
		do   func(v *served) error
	}{
		{"in place", func(v *served) error { return os.WriteFile(v.path("d/f"), []byte("theirs"), 0o666) }},
		{"in place, the time restored", func(v *served) error {
			fi, err := os.Stat(v.path("d/f"))
			return errors.Join(err, os.WriteFile(v.path("d/f"), []byte("theirs"), 0o666),
				os.Chtimes(v.path("d/f"), fi.ModTime(), fi.ModTime()))
		}},
		{"by rename, the time restored", func(v *served) error {
			fi, err := os.Stat(v.path("d/f"))
			return errors.Join(err, os.WriteFile(v.path("tmp"), []byte("theirs"), 0o666),
				os.Chtimes(v.path("tmp"), fi.ModTime(), fi.ModTime()), os.Rename(v.path("tmp"), v.path("d/f")))
		}},
		{"through a hard link", func(v *served) error {
			return errors.Join(os.Link(v.path("d/f"), v.path("other")),
				os.WriteFile(v.path("other"), []byte("theirs"), 0o666))
		}},
		{"of its collection, by rename", func(v *served) error {
			return errors.Join(os.Mkdir(v.path("tmp"), 0o777), os.WriteFile(v.path("tmp/f"), []byte("theirs"), 0o666),
				os.Rename(v.path("d"), v.path("away")), os.Rename(v.path("tmp"), v.path("d")))
		}},
	} {
		for _, see := range []struct {
			name string
			do   func(v *served)
		}{
			{"Stat", func(v *served) { v.wantTag("d/f", "theirs") }},
			{"Open", func(v *served) {
				content, state, err := v.Open(ctx, "d/f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
				v.must(err)
				defer content.Close()
				got, err := treetest.ReadAll(content, state)
				if got != "theirs" || state.Tag != treetest.TagOf("theirs") {
					v.t.Errorf("got %q as %+v, error %v", got, state, err)
				}
			}},
			{"List", func(v *served) {
				for state, err := range treetest.Members(ctx, v, "d", tree.WantTag) {
					if err != nil || state.Tag != treetest.TagOf("theirs") {
						v.t.Errorf("got %+v, error %v", state, err)
					}
				}
			}},
			{"Put if it is the old one", func(v *served) {
				if err := put(v, "d/f", "mine", treetest.IfTag("d/f", treetest.TagOf("before"))); err == nil {
					v.t.Error("it is gone")
				}
				v.wantTag("d/f", "theirs")
			}},
			{"Put if it is the new one", func(v *served) {
				v.must(put(v, "d/f", "mine", treetest.IfTag("d/f", treetest.TagOf("theirs"))))
				v.wantTag("d/f", "mine")
			}},
			{"Move if it is the old one", func(v *served) {
				if _, _, err := v.Move(ctx, "d/f", "g", tree.CopyOptions{},
					treetest.IfTag("d/f", treetest.TagOf("before"))); err == nil {
					v.t.Error("it is gone")
				}
			}},
			{"Copy", func(v *served) {
				state, _, err := v.Copy(ctx, "d/f", "g", tree.CopyOptions{}, tree.Condition{})
				if err != nil || state.Tag != treetest.TagOf("theirs") {
					v.t.Errorf("got %+v, error %v", state, err)
				}
			}},
		} {
			t.Run(edit.name+"/"+see.name, func(t *testing.T) {
				t.Parallel()
				v := serve(t, "d/", "d/f=before")
				v.wantTag("d/f", "before")
				v.must(edit.do(v))
				see.do(v)
			})
		}
	}
}

func TestOwnWritesAreNotReadAgain(t *testing.T) {
	v := serve(t, "d/", "d/f=content")
	below := v.below()
	fine := below.Abilities().FineTimes
	below.Close()
	if !fine {
		t.Log("time stamps are coarse here: fresh files are hashed again")
	}
	none := func(what string, do func()) {
		t.Helper()
		if fine {
			v.wantReads(what, 0, do)
		} else {
			do()
		}
	}
	none("Stat after Put", func() { v.wantTag("d/f", "content") })
	none("Stat after PatchProperties", func() {
		v.must(v.PatchProperties(ctx, "d/f", patch("p", "v"), tree.Condition{}))
		v.wantTag("d/f", "content")
	})
	none("Stat after Move", func() {
		v.must(move("d/f", "g")(v), move("d", "e")(v))
		v.wantTag("g", "content")
	})
	v.must(put(v, "e/h", "other", tree.Condition{}), copyTo("e", "d")(v), copyTo("g", "i")(v))
	none("Stat after Copy", func() {
		v.wantTag("d/h", "other")
		v.wantTag("i", "content")
	})
}

func TestSettle(t *testing.T) {
	v := serveWithoutLeases(t)
	v.must(os.WriteFile(v.path("f"), []byte("theirs"), 0o666))
	stat := func() { v.wantTag("f", "theirs") }
	v.wantReads("a file that has just changed, first", 1, stat)
	v.wantReads("a file that has just changed, again", 1, stat)
	v.clock.Advance(10 * time.Second)
	v.wantReads("a file left alone, first", 1, stat)
	v.wantReads("a file left alone, again", 0, stat)

	// Whatever its owner says of its time.
	future := time.Now().Add(1000 * time.Hour)
	v.must(os.Chtimes(v.path("f"), future, future))
	v.clock.Advance(10 * time.Second)
	v.wantReads("a file from the future, first", 1, stat)
	v.wantReads("a file from the future, again", 0, stat)

	v.Distrust()
	v.wantReads("after Distrust", 1, stat)
}

func TestChangingUnderTheHash(t *testing.T) {
	v := serveWithoutLeases(t)
	v.must(os.WriteFile(v.path("f"), nil, 0o666))
	v.clock.Advance(10 * time.Second)
	changes := 0
	v.seam.arm(func(_ int, c vfs.Call) error {
		if c.Op != "readAt" || changes == 0 {
			return nil
		}
		changes--
		f, err := os.OpenFile(v.path("f"), os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString("x")
			f.Close()
		}
		return err
	})
	change := func(n int) { v.seam.mu.Lock(); defer v.seam.mu.Unlock(); changes = n }
	v.must(os.WriteFile(v.path("f"), []byte("1"), 0o666))
	change(1)
	v.wantTag("f", "1x")
	v.Distrust()
	change(1000)
	if state, err := v.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag}); err != nil || state.Tag != "" ||
		!state.Exists {
		t.Errorf("a look at a file that never rests: got %+v, error %v; want it without a tag", state, err)
	}
	if content, state, err := v.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{}); err != nil ||
		state.Tag != "" {
		t.Errorf("an open of a file that never rests: got %+v, error %v; want it without a tag", state, err)
	} else if sent, err := treetest.ReadAll(content, state); err != nil || int64(len(sent)) != state.Size {
		t.Errorf("%d bytes were sent of %d, error %v", len(sent), state.Size, err)
	} else {
		content.Close()
	}
	if err := put(v, "g", "g", treetest.IfTag("f", treetest.TagOf("1"))); !errors.Is(err, tree.ErrBusy) {
		t.Errorf("a condition on a file that never rests: %v", err)
	}
	change(0)
	now, err := os.ReadFile(v.path("f"))
	v.must(err)
	v.wantTag("f", string(now))
}

func TestMoveTellsTheTagOfAFileNobodyAskedFor(t *testing.T) {
	v := serve(t)
	v.must(os.WriteFile(v.path("made"), []byte("outside"), 0o666))
	state, created, err := v.Move(t.Context(), "made", "moved", tree.CopyOptions{}, tree.Condition{})
	v.must(err)
	if want := treetest.TagOf("outside"); state.Tag != want || !created {
		t.Errorf("moved: tag %s, created %v; want %s, true", state.Tag, created, want)
	}
}

// A time that PROPPATCH sets is one that a local program's write of the same size could hide behind.
func TestModifiedTimeThatIsSetHidesNoEdit(t *testing.T) {
	v := serve(t)
	v.must(put(v, "f", "AAAA", tree.Condition{}))
	written := make(chan error, 2)
	v.seam.arm(func(_ int, c vfs.Call) error {
		if c.Op != "chtimes" {
			return nil
		}
		// Where there is a lease, this asks for its end, and the writing waits for that.
		f, err := os.OpenFile(v.path("f"), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			_, err = f.WriteString("BBBB")
			written <- errors.Join(err, f.Close())
			return nil
		}
		go func() { written <- os.WriteFile(v.path("f"), []byte("BBBB"), 0o666) }()
		return nil
	})
	v.must(v.PatchProperties(ctx, "f", tree.Patch{Modified: time.Unix(1_000_000_000, 0)}, tree.Condition{}))
	v.must(<-written)
	v.wantTag("f", "BBBB")
}

func TestCopyIsRefusedBeforeAnythingIsCopied(t *testing.T) {
	v := serve(t, "f=content")
	v.seam.arm(func(_ int, c vfs.Call) error {
		if c.Op == "create" {
			t.Errorf("%s, although the condition does not hold", c)
		}
		return nil
	})
	stale := errors.New("stale")
	if _, _, err := v.Copy(ctx, "f", "g", tree.CopyOptions{},
		treetest.If(func(tree.View) error { return stale })); !errors.Is(err, stale) {
		t.Errorf("got %v", err)
	}
}

func TestFailureAfterTheChangeSaysSo(t *testing.T) {
	v := serve(t, "f=content")
	_, _, err := v.Lock(ctx, tree.LockRequest{Root: "f", Timeout: time.Hour}, tree.Condition{})
	v.must(err)
	v.seam.arm(func(_ int, c vfs.Call) error {
		if c.Op == "appendTo" && c.Name == ".ifmatch/locks" {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := v.Remove(ctx, "f", tree.Condition{}); !errors.Is(err, tree.ErrUnsure) {
		t.Errorf("the file is gone, and its lock could not be ended: got %v, want ErrUnsure", err)
	}
}

// A disk that is out of inodes has no room for what is staged, and the history is the first to give way.
func TestStagingMakesRoom(t *testing.T) {
	for name, do := range map[string]func(v *served) error{
		"Put":             func(v *served) error { return put(v, "new", "content", tree.Condition{}) },
		"Copy":            func(v *served) error { return copyTo("f", "new")(v) },
		"Copy of a tree":  func(v *served) error { return copyTo("d", "new")(v) },
		"Lock on nothing": func(v *served) error { return lock("new")(v) },
	} {
		t.Run(name, func(t *testing.T) {
			v := serve(t, "f=content", "d/")
			v.must(put(v, "gone", "1", tree.Condition{}), v.Remove(ctx, "gone", tree.Condition{}))
			v.seam.arm(func(_ int, c vfs.Call) error {
				if c.Op != "create" && c.Op != "mkdir" || !strings.Contains(c.Name, "/stage/") {
					return nil
				}
				if kept, err := os.ReadDir(v.path(".ifmatch/history")); err != nil || len(kept) > 0 {
					return syscall.ENOSPC
				}
				return nil
			})
			v.must(do(v))
			if _, err := v.Stat(ctx, "new", tree.ReadOptions{}); err != nil {
				t.Error(err)
			}
			if n := v.gave.Load(); n != 1 {
				t.Errorf("it was told %d times that the history gave way", n)
			}
		})
	}
}

// On a disk so full that there is no room for a name in the history, what is removed goes for good, and makes room.
func TestRemoveNeedsNoRoom(t *testing.T) {
	for name, check := range map[string]tree.Condition{"whatever it is": tree.Condition{},
		"if it is": treetest.IfTag("f", treetest.TagOf("content"))} {
		t.Run(name, func(t *testing.T) {
			var seam seam
			dir := quickDir(t)
			s := openQuietly(t, dir, fs.Options{Before: seam.before})
			err := errors.Join(lay("f=content", "d/", "d/g=1", "before=1")(s),
				s.Remove(ctx, "before", tree.Condition{}))
			seam.arm(func(_ int, c vfs.Call) error {
				switch c.Op {
				case "create", "mkdir", "appendTo", "write", "link":
					return syscall.ENOSPC
				}
				return nil
			})
			err = errors.Join(err, s.Remove(ctx, "f", check), s.Remove(ctx, "d", tree.Condition{}))
			seam.arm(nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"f", "d"} {
				if _, err := s.Stat(ctx, name, tree.ReadOptions{}); !errors.Is(err, tree.ErrNotExist) {
					t.Errorf("%s: got %v", name, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if left := litter(t, dir); left != nil {
				t.Errorf("there is left %q", left)
			}
		})
	}
	t.Run("unless it is another one", func(t *testing.T) {
		v := serve(t, "f=content")
		v.seam.arm(func(_ int, c vfs.Call) error {
			switch {
			case c.Op == "mkdir", c.Op == "appendTo":
				return syscall.ENOSPC
			case c.Op == "renameNew" && c.Name == "f":
				return errors.Join(os.Rename(v.path("f"), v.path("old")),
					os.WriteFile(v.path("f"), []byte("theirs"), 0o666))
			}
			return nil
		})
		if err := v.Remove(ctx, "f", treetest.IfTag("f", treetest.TagOf("content"))); err == nil {
			t.Error("it was removed")
		}
		v.seam.arm(nil)
		v.wantTag("f", "theirs")
	})
}
