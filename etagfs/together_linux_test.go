package etagfs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// openForWriting has a local program open a file for writing, so that nothing of it is remembered, and returns what
// closes it.
func (v *served) openForWriting(name string) (end func()) {
	v.t.Helper()
	f, err := os.OpenFile(v.path(name), os.O_WRONLY, 0)
	v.must(err)
	return func() { f.Close() }
}

// A watched is a served whose reads of files are counted, and may wait.
type watched struct {
	*served
	at atomic.Pointer[func(vfs.Call)]
}

func serveWatched(t *testing.T) *watched { return serveWatchedWith(t, etagfs.Options{}) }

func serveWatchedWith(t *testing.T, opts etagfs.Options) *watched {
	t.Helper()
	v := &watched{served: &served{t: t, dir: t.TempDir(), clock: treetest.NewClock()}}
	below, err := fs.Open(v.dir, fs.Options{Durability: fs.None, History: true, Before: func(c vfs.Call) error {
		if at := v.at.Load(); at != nil && c.Op == "readAt" {
			(*at)(c)
		}
		return nil
	}})
	opts.Now = v.clock.Now
	v.Store, _ = open(t, opts, below, err)
	return v
}

// fileReads counts the chunks that are read of a file from now on, and calls at before the n-th of them.
func (v *watched) fileReads(name string, at func(n int32)) *atomic.Int32 {
	var reads atomic.Int32
	count := func(c vfs.Call) {
		if c.Name == name {
			if n := reads.Add(1); at != nil {
				at(n)
			}
		}
	}
	v.at.Store(&count)
	return &reads
}

const (
	hashChunk = 256 << 10
	hashed    = 16 // chunks
)

// What a program has open for writing is not remembered. All who ask while it is hashed wait for the next hash, which
// sees what was written before they came; they do not hash it each.
func TestFileThatIsBeingWrittenIsHashedOnceForAll(t *testing.T) {
	for _, how := range []struct {
		name string
		ask  func(v *watched) error
	}{
		{"Stat", func(v *watched) error {
			_,
				err := v.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
			return err
		}},
		{"Open", func(v *watched) error {
			content, _, err := v.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
			if err == nil {
				content.Close()
			}
			return err
		}},
		{"Try", func(v *watched) error {
			return v.Try(ctx, treetest.If(func(view tree.View) error {
				if state, err := view.State("f"); err != nil || state.Tag == "" {
					return errors.Join(err, tree.ErrTagUnknown)
				}
				return nil
			}))
		}},
	} {
		t.Run(how.name, func(t *testing.T) {
			v := serveWatched(t)
			v.must(os.WriteFile(v.path("f"), bytes.Repeat([]byte("x"), hashed*hashChunk), 0o666))
			defer v.openForWriting("f")()
			begun, goOn := make(chan struct{}), make(chan struct{})
			reads := v.fileReads("f", func(n int32) {
				if n == 1 {
					close(begun)
					<-goOn
				}
			})
			var all sync.WaitGroup
			ask := func() {
				if err := how.ask(v); err != nil {
					t.Error(err)
				}
			}
			all.Go(ask)
			<-begun
			const others = 20
			for range others {
				all.Go(ask)
			}
			treetest.Eventually(t, "the others", func() bool { return v.WaitingToHash() == others })
			close(goOn)
			all.Wait()
			// The end of a file takes a read too.
			if n := reads.Load(); n > 2*(hashed+1) {
				t.Errorf("%d chunks were read of %d, want each twice at the most", n, hashed)
			}
		})
	}
}

// Who comes while a file is hashed that is being written gets what was there when they came.
func TestHashThatBeganBeforeIsNotForWhoComesLater(t *testing.T) {
	v := serveWatched(t)
	content := bytes.Repeat([]byte("x"), hashed*hashChunk)
	v.must(os.WriteFile(v.path("f"), content, 0o666))
	info, err := os.Stat(v.path("f"))
	v.must(err)
	f, err := os.OpenFile(v.path("f"), os.O_WRONLY, 0)
	v.must(err)
	defer f.Close()
	later := make(chan tree.State, 1)
	v.fileReads("f", func(n int32) {
		if n != 2 {
			return
		}
		// The first chunk is read; now it changes, and somebody comes who must see that.
		content[0] = 'y'
		_, err := f.WriteAt(content[:1], 0)
		v.must(err, os.Chtimes(v.path("f"), info.ModTime(), info.ModTime()))
		go func() {
			state, err := v.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
			v.must(err)
			later <- state
		}()
		treetest.Eventually(t, "the one who comes later", func() bool { return v.WaitingToHash() == 1 })
	})
	_, err = v.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
	v.must(err)
	if got, want := (<-later).Tag, treetest.TagOf(string(content)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The one who hashes for all may give up.
func TestOneWhoGivesUpEndsNoOthersHash(t *testing.T) {
	for _, written := range []bool{true, false} {
		v := serveWatched(t)
		content := bytes.Repeat([]byte("x"), hashed*hashChunk)
		v.must(os.WriteFile(v.path("f"), content, 0o666))
		if written {
			defer v.openForWriting("f")()
		}
		first, giveUp := context.WithCancel(ctx)
		waits := make(chan struct{})
		v.fileReads("f", func(n int32) {
			if n == 2 {
				<-waits
				giveUp()
			}
		})
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := v.Stat(first, "f", tree.ReadOptions{Want: tree.WantTag}); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who gave up got %v", err)
			}
		})
		all.Go(func() {
			if state, err := v.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag}); err != nil ||
				state.Tag != treetest.TagOf(string(content)) {
				t.Errorf("the other one got %+v, error %v", state, err)
			}
		})
		treetest.Eventually(t, "the other one", func() bool { return v.WaitingToHash() == 1 })
		close(waits)
		all.Wait()
	}
}

// Small parts of a file that is being written are taken from it while it is hashed: once for all parts, and for all who
// ask meanwhile. Several that are large are sent as the whole.
func TestPartsOfAFileThatIsBeingWritten(t *testing.T) {
	content := make([]byte, hashed*hashChunk+7)
	for i := range content {
		content[i] = byte(i >> 8)
	}
	size := int64(len(content))
	at := func(offset, length int64) tree.Part { return tree.Part{Offset: offset, Length: length} }
	var many []tree.Part
	for i := range int64(64) {
		many = append(many, at(size-2*(64-i), 1))
	}
	for _, tt := range []struct {
		name  string
		parts []tree.Part
		apart bool
		reads int32 // chunks, of all of it
	}{
		{"64 parts", many, true, hashed + 2},
		{"parts in any order, and one twice", []tree.Part{at(size-1, 1), at(0, 1), at(hashChunk-1, 2), at(0, 1)}, true,
			hashed + 2},
		{"a part at the end, as a tail", []tree.Part{at(size-60_000, 60_000)}, true, hashed + 2},
		{"a part of a mebibyte, as players ask", []tree.Part{at(1<<20, 1<<20)}, true, hashed + 2},
		{"a large part", []tree.Part{at(1, size-2)}, true, 0},
		{"several large parts", []tree.Part{at(0, 1<<20), at(2<<20, 1)}, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := serveWatched(t)
			v.must(os.WriteFile(v.path("f"), content, 0o666))
			defer v.openForWriting("f")()
			opened, state, err := v.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
			v.must(err)
			defer opened.Close()
			reads := v.fileReads("f", nil)
			apart, err := opened.(tree.PartedContent).Parts(ctx, tt.parts)
			v.must(err)
			if apart != tt.apart {
				t.Errorf("sent apart: %v, want %v", apart, tt.apart)
			}
			if !apart {
				return
			}
			for _, p := range tt.parts {
				var got bytes.Buffer
				_, err := opened.WriteRange(ctx, &got, p.Offset, p.Length)
				v.must(err)
				if !bytes.Equal(got.Bytes(), content[p.Offset:p.Offset+p.Length]) {
					t.Errorf("%+v is not what there is", p)
				}
			}
			if n := reads.Load(); tt.reads > 0 && n > tt.reads {
				t.Errorf("%d chunks were read, want %d", n, tt.reads)
			}
			if state.Tag != treetest.TagOf(string(content)) {
				t.Error("the tag is of something else")
			}
		})
	}
	t.Run("what is held is bounded, and given back", func(t *testing.T) {
		v := serveWatched(t)
		v.must(os.WriteFile(v.path("f"), content, 0o666))
		defer v.openForWriting("f")()
		large := []tree.Part{at(0, 1<<19), at(1<<20, 1<<19)}
		for range 2 {
			var all []tree.Content
			for n := 0; ; n++ {
				opened, _, err := v.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
				v.must(err)
				all = append(all, opened)
				apart, err := opened.(tree.PartedContent).Parts(ctx, large)
				v.must(err)
				if !apart {
					if n != 32 {
						t.Errorf("%d are captured at once, want 32", n)
					}
					break
				}
			}
			for _, opened := range all {
				opened.Close()
			}
		}
	})
	t.Run("it has changed since it was opened", func(t *testing.T) {
		v := serveWatched(t)
		v.must(os.WriteFile(v.path("f"), content, 0o666))
		f, err := os.OpenFile(v.path("f"), os.O_WRONLY, 0)
		v.must(err)
		defer f.Close()
		opened, _, err := v.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
		v.must(err)
		defer opened.Close()
		_, err = f.WriteAt([]byte("!"), 5)
		v.must(err)
		if _, err := opened.(tree.PartedContent).Parts(ctx, many); !errors.Is(err, tree.ErrChanged) {
			t.Errorf("got %v, want that it has changed", err)
		}
	})
}

// A file that is being downloaded keeps its content when it gets another name, or time of change. What we do ourselves
// is known, and what another program does costs one hash for all downloads, not one for each.
func TestStampsThatChangeWhileItIsSent(t *testing.T) {
	const size = hashed * hashChunk
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	for _, tt := range []struct {
		name   string
		do     func(v *served) error
		hashes int32
	}{
		{"nothing", func(*served) error { return nil }, 0},
		{"PROPPATCH", func(v *served) error { return v.PatchProperties(ctx, "f", patch("a", "1"), tree.Condition{}) },
			0},
		{"MOVE", func(v *served) error { return move("f", "g")(v) }, 0},
		{"PUT over it", func(v *served) error { return put(v, "f", "other", tree.Condition{}) }, 0},
		{"PUT over it, if it is what it was", func(v *served) error {
			return put(v, "f", "other", treetest.IfTag("f", treetest.TagOf(string(content))))
		}, 0},
		{"COPY over it", func(v *served) error { return copyTo("h", "f")(v) }, 0},
		{"MOVE over it", func(v *served) error { return move("h", "f")(v) }, 0},
		{"DELETE", func(v *served) error { return v.Remove(ctx, "f", tree.Condition{}) }, 0},
		{"chmod", func(v *served) error { return os.Chmod(v.path("f"), 0o600) }, 1},
		{"rename", func(v *served) error { return os.Rename(v.path("f"), v.path("g")) }, 1},
		{"link", func(v *served) error { return os.Link(v.path("f"), v.path("g")) }, 1},
		{"unlink", func(v *served) error { return os.Remove(v.path("f")) }, 1},
		{"touch", func(v *served) error { return os.Chtimes(v.path("f"), time.Unix(1, 0), time.Unix(1, 0)) }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := serveWatched(t)
			v.must(put(v, "h", "source", tree.Condition{}), os.WriteFile(v.path("f"), content, 0o666))
			v.wantTag("f", string(content))
			const downloads = 5
			var all sync.WaitGroup
			var half sync.WaitGroup
			half.Add(downloads)
			goOn := make(chan struct{})
			reads := v.fileReads("f", nil)
			for range downloads {
				opened, state, err := v.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
				v.must(err)
				all.Go(func() {
					defer opened.Close()
					client := &slow{at: size / 2, do: func() { half.Done(); <-goOn }}
					if _, err := opened.WriteRange(ctx, struct{ io.Writer }{client}, 0, state.Size); err != nil {
						t.Error(err)
					}
					if !bytes.Equal(client.got.Bytes(), content) {
						t.Errorf("%d bytes are not what it was", client.got.Len())
					}
				})
			}
			half.Wait()
			v.must(tt.do(v.served))
			close(goOn)
			all.Wait()
			// Each is sent in chunks of its own, one of which may be read once more.
			hashes := (reads.Load() - downloads*(size/(64<<10)+1)) / hashed
			// One that comes to the change when the hash has ended may need another, as on a machine with much to do.
			if hashes > 2*tt.hashes {
				t.Errorf("the file was hashed %d times beside %d downloads, want %d", hashes, downloads, tt.hashes)
			}
		})
	}
}
