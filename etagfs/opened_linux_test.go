package etagfs_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// slow is a client that gets a file, and calls a function (do) when it has a number of bytes (at).
type slow struct {
	got bytes.Buffer
	at  int
	do  func()
}

func (w *slow) Write(p []byte) (int, error) {
	n, err := w.got.Write(p)
	if w.do != nil && w.got.Len() >= w.at {
		w.do()
		w.do = nil
	}
	return n, err
}

// byKernel is one that the kernel sends to: what it has not read may still change.
type byKernel struct{ *slow }

func (w byKernel) ReadFrom(src io.Reader) (int64, error) { return io.Copy(w.slow, src) }

// TestFileChangesWhileItIsSent: a content that is sent as a whole is of the version whose tag it has, whatever a local
// program does to the file meanwhile; what leaves that version as it is, disturbs nobody.
func TestFileChangesWhileItIsSent(t *testing.T) {
	const size, begun, behind = 5 << 20, 1 << 20, 9 << 19
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i >> 10)
	}
	tag := treetest.TagOf(string(content))
	const (
		whole  = iota // it is sent to the end all the same
		cutOff        // it is not
		either        // it depends, and is right both ways
	)
	inPlace := func(v *served, flags int, do func(f *os.File) error) error {
		f, err := os.OpenFile(v.path("f"), flags, 0)
		if err != nil {
			return err
		}
		return errors.Join(do(f), f.Close())
	}
	// overwrite changes a byte and restores the time.
	overwrite := func(v *served, at int64, with byte) error {
		info, err := os.Stat(v.path("f"))
		return errors.Join(err, inPlace(v, os.O_WRONLY, func(f *os.File) error {
			_, err := f.WriteAt([]byte{with}, at)
			return err
		}), os.Chtimes(v.path("f"), info.ModTime(), info.ModTime()))
	}
	mapped := func(v *served, f *os.File) []byte {
		memory, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		v.must(err)
		return memory
	}
	for _, tt := range []struct {
		name    string
		prepare func(v *served) // before it is opened
		do      func(v *served) error
		want    int
	}{
		{"it is left alone", nil, func(*served) error { return nil }, whole},
		{"in place, where it was not sent yet", nil, func(v *served) error { return overwrite(v, behind, '!') },
			cutOff},
		{"in place, in the last byte", nil, func(v *served) error { return overwrite(v, size-1, '!') }, cutOff},
		{"in place, where it was sent before", nil, func(v *served) error { return overwrite(v, 0, '!') }, either},
		{"in place, with the same bytes", nil, func(v *served) error { return overwrite(v, behind, content[behind]) },
			whole},
		{"appended to", nil, func(v *served) error {
			return inPlace(v, os.O_WRONLY|os.O_APPEND,
				func(f *os.File) error { _, err := f.WriteString("more"); return err })
		}, whole},
		{"appended to, and hashed since", nil, func(v *served) error {
			err := inPlace(v, os.O_WRONLY|os.O_APPEND,
				func(f *os.File) error { _, err := f.WriteString("more"); return err })
			v.clock.Advance(time.Minute)
			_, failed := v.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
			return errors.Join(err, failed)
		}, whole},
		{"cut off", nil, func(v *served) error { return os.Truncate(v.path("f"), behind) }, cutOff},
		{"emptied", nil, func(v *served) error { return os.Truncate(v.path("f"), 0) }, cutOff},
		{"replaced by rename", nil, func(v *served) error {
			return errors.Join(os.WriteFile(v.path("new"), []byte("other"), 0o666),
				os.Rename(v.path("new"), v.path("f")))
		}, whole},
		{"replaced by another client", nil, func(v *served) error { return put(v, "f", "other", tree.Condition{}) },
			whole},
		{"removed", nil, func(v *served) error { return os.Remove(v.path("f")) }, whole},
		{"given another time and mode", nil, func(v *served) error {
			return errors.Join(os.Chtimes(v.path("f"), time.Unix(1, 0), time.Unix(1, 0)), os.Chmod(v.path("f"), 0o600))
		}, whole},
		{"through a new mapping", nil, func(v *served) error {
			return inPlace(v, os.O_RDWR, func(f *os.File) error {
				memory := mapped(v, f)
				memory[behind] = '!'
				return unix.Munmap(memory)
			})
		}, cutOff},
		{"through a mapping that was there before, so that no stamp tells", func(v *served) {
			v.must(inPlace(v, os.O_RDWR, func(f *os.File) error {
				memory := mapped(v, f)
				memory[behind] = content[behind]
				v.mapping = memory
				return nil
			}))
		}, func(v *served) error {
			v.mapping[behind] = '!'
			return unix.Munmap(v.mapping)
		}, cutOff},
	} {
		for _, part := range []struct {
			name           string
			offset, length int64
		}{{"all", 0, size}, {"a part", 4 << 10, size - 8<<10}} {
			for _, how := range []string{"copied", "by the kernel", "without leases"} {
				t.Run(tt.name+"/"+part.name+"/"+how, func(t *testing.T) {
					v := serveIn(&served{t: t, dir: t.TempDir(), clock: treetest.NewClock(),
						noLeases: how == "without leases"})
					v.must(os.WriteFile(v.path("f"), content, 0o666))
					if tt.prepare != nil {
						if isOn(v.dir, unix.OVERLAYFS_SUPER_MAGIC) {
							t.Log("an overlay gives a lease where there is a mapping")
							return
						}
						tt.prepare(v)
					}
					opened, state, err := v.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
					v.must(err)
					defer opened.Close()
					if state.Tag != tag {
						t.Fatalf("opened as %+v", state)
					}
					v.reads.Store(0)
					_, err = v.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
					v.must(err)
					remembered := v.reads.Load() == 0 // so that looks tell
					client := &slow{at: begun, do: func() { v.must(tt.do(v)) }}
					w := io.Writer(client)
					if how == "by the kernel" {
						w = byKernel{client}
					}
					_, err = opened.WriteRange(ctx, w, part.offset, part.length)
					got, want := client.got.Bytes(), content[part.offset:part.offset+part.length]
					switch {
					case err == nil && !bytes.Equal(got, want):
						t.Errorf("%d bytes of %d were sent, and not all of this version", len(got), len(want))
					case tt.want == whole && err != nil:
						t.Errorf("%d bytes of %d were sent, error %v", len(got), len(want), err)
					case tt.want == cutOff && (!errors.Is(err, tree.ErrChanged) || len(got) == len(want)):
						t.Errorf("%d bytes of %d were sent, error %v; want that it has changed", len(got), len(want),
							err)
					}
					if how == "copied" && remembered && !bytes.Equal(got, want[:len(got)]) {
						t.Error("some bytes were sent that are not of this version")
					}
				})
			}
		}
	}
}

// What is changed and changed back while it is sent is not sent as what it never was.
func TestFileChangesAndChangesBackWhileItIsSent(t *testing.T) {
	v := serve(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	other := bytes.ToUpper(content)
	v.must(os.WriteFile(v.path("f"), content, 0o666))
	opened, state, err := v.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
	v.must(err)
	defer opened.Close()
	rewrite := func(with []byte) {
		f, err := os.OpenFile(v.path("f"), os.O_WRONLY, 0)
		v.must(err)
		_, err = f.Write(with)
		v.must(err, f.Close())
	}
	client := &slow{at: 1}
	client.do = func() {
		rewrite(other)
		client.at, client.do = len(content)/2, nil
	}
	back := &slow{at: len(content) / 2, do: func() { rewrite(content) }}
	_, err = opened.WriteRange(ctx, io.MultiWriter(client, back), 0, state.Size)
	if !errors.Is(err, tree.ErrChanged) || client.got.Len() == len(content) {
		t.Errorf("%d bytes of %d were sent, error %v", client.got.Len(), len(content), err)
	}
}

// What is as small as to be read at once is not sent at all if it has changed.
func TestSmallFileChangesBeforeItIsSent(t *testing.T) {
	for _, size := range []int{1, 16 << 10, 64 << 10} {
		v := serve(t)
		v.must(os.WriteFile(v.path("f"), bytes.Repeat([]byte("x"), size), 0o666))
		opened, state, err := v.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
		v.must(err, os.WriteFile(v.path("f"), bytes.Repeat([]byte("y"), size), 0o666))
		var sent bytes.Buffer
		if n, err := opened.WriteRange(ctx, &sent, 0, state.Size); !errors.Is(err, tree.ErrChanged) || sent.Len() > 0 ||
			n > 0 {
			t.Errorf("%d bytes of %d were sent, error %v", sent.Len(), size, err)
		}
		opened.Close()
		opened, state, err = v.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
		v.must(err)
		if got, err := treetest.ReadAll(opened, state); err != nil || state.Tag != treetest.TagOf(got) ||
			got[0] != 'y' {
			t.Errorf("read again: got %.1q as %+v, error %v", got, state, err)
		}
		opened.Close()
	}
}
