package etagfs_test

import (
	"bytes"
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// What cannot be remembered, and cannot be hashed in time, is not begun to be hashed.
func TestHashThatCannotEndInTimeIsNotBegun(t *testing.T) {
	v := serveWatched(t)
	v.must(os.WriteFile(v.path("known"), bytes.Repeat([]byte("x"), 17<<20), 0o666),
		os.WriteFile(v.path("f"), nil, 0o666),
		os.Truncate(v.path("f"), 1<<40))
	_, err := v.Stat(ctx, "known", tree.ReadOptions{Want: tree.WantTag}) // says how fast it is
	v.must(err)
	defer v.openForWriting("f")()
	reads := v.fileReads("f", nil)
	patience := tree.ReadOptions{Want: tree.WantTag, TagDeadline: time.Now().Add(time.Minute)}
	if state, err := v.Stat(ctx, "f", patience); err != nil || state.Tag != "" || reads.Load() > 0 {
		t.Errorf("got %+v, error %v, after %d reads", state, err, reads.Load())
	}
}

// Hashes that clients wait for are bounded, and shared out among them; small files are not waited for.
func TestHashesAreBounded(t *testing.T) {
	v := serveWatchedWith(t, etagfs.Options{Hashes: limit.NewPool("hashes", 2)})
	for _, name := range []string{"a", "b", "c"} {
		v.must(os.WriteFile(v.path(name), bytes.Repeat([]byte(name), 4<<20), 0o666))
	}
	v.must(os.WriteFile(v.path("small"), []byte("small"), 0o666))
	begun, goOn := make(chan string, 3), make(chan struct{})
	var seen sync.Map
	first := func(c vfs.Call) {
		if _, again := seen.LoadOrStore(c.Name, true); !again && len(c.Name) == 1 {
			begun <- c.Name
			<-goOn
		}
	}
	v.at.Store(&first)
	one, two := tree.WithClient(ctx, "one"), tree.WithClient(ctx, "two")
	var all sync.WaitGroup
	ask := func(ctx context.Context, name string) {
		if state, err := v.Stat(ctx, name, tree.ReadOptions{Want: tree.WantTag}); err != nil || state.Tag == "" {
			t.Errorf("%s: got %+v, error %v", name, state, err)
		}
	}
	all.Go(func() { ask(one, "a") })
	if got := <-begun; got != "a" {
		t.Fatalf("%s is hashed", got)
	}
	all.Go(func() { ask(one, "b") }) // has to wait: the other half is for others
	ask(one, "small")
	all.Go(func() { ask(two, "c") })
	if got := <-begun; got != "c" {
		t.Errorf("%s is hashed, want c", got)
	}
	close(goOn)
	all.Wait()
}

// One whose client has no turn left holds up no other client that waits for the same file, and has the hash of that
// client.
func TestWhoHasNoTurnHoldsUpNoOther(t *testing.T) {
	pool := limit.NewPool("hashes", 2)
	v := serveWatchedWith(t, etagfs.Options{Hashes: pool})
	content := bytes.Repeat([]byte("x"), hashed*hashChunk)
	v.must(os.WriteFile(v.path("f"), content, 0o666))
	one, two := tree.WithClient(ctx, "one"), tree.WithClient(ctx, "two")
	held, err := pool.TryAcquire("one", nil)
	v.must(err)
	tag := treetest.TagOf(string(content))
	var all sync.WaitGroup
	all.Go(func() {
		// Where the other one was held up, this one has waited in vain, for as long as it may.
		if state, err := v.Stat(one, "f", tree.ReadOptions{Want: tree.WantTag}); err != nil || state.Tag != tag {
			t.Errorf("the first one got %+v, error %v", state, err)
		}
	})
	defer held.Release()
	defer all.Wait()
	treetest.Eventually(t, "the first one waits", func() bool { return v.Hashing() == 1 })
	if state, err := v.Stat(two, "f", tree.ReadOptions{Want: tree.WantTag}); err != nil || state.Tag != tag {
		t.Errorf("the other one got %+v, error %v", state, err)
	}
}
