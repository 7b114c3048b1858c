package watcher

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestAnswerComesAfterTheEvents: when a question is answered, all changes before it were handed on, also those that
// would wait for their names to rest, and those in new directories.
func TestAnswerComesAfterTheEvents(t *testing.T) {
	root, asks, ready := t.TempDir(), make(chan chan<- bool), make(chan struct{})
	var mu sync.Mutex
	told := map[string]bool{}
	ctx, cancel := context.WithCancel(t.Context())
	opts := Options{Quiet: time.Hour, Ready: func() { close(ready) }, Ask: asks, AskDir: t.TempDir()}
	done := make(chan error, 1)
	go func() {
		done <- Watch(ctx, root, opts, func(batch []Event) {
			mu.Lock()
			defer mu.Unlock()
			for _, ev := range batch {
				told[ev.Name] = true
			}
		})
	}()
	<-ready
	for i := range 20 {
		dir := fmt.Sprintf("d%d/e/f", i)
		if err := os.MkdirAll(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
		names := []string{dir + "/new", fmt.Sprint("f", i)}
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(root, name), []byte("x"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		answer := make(chan bool, 1)
		asks <- answer
		if !<-answer {
			t.Fatal("it does not know")
		}
		mu.Lock()
		for _, name := range names {
			if !told[name] {
				t.Errorf("%q is not told", name)
			}
		}
		mu.Unlock()
	}
	if left, err := os.ReadDir(opts.AskDir); len(left) > 0 || err != nil {
		t.Errorf("it leaves %v, error %v", left, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestQuestionThatCannotBeAnswered: without a directory for questions, nothing is known.
func TestQuestionThatCannotBeAnswered(t *testing.T) {
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "missing")} {
		ctx, cancel := context.WithCancel(t.Context())
		asks, done := make(chan chan<- bool), make(chan error, 1)
		go func() { done <- Watch(ctx, t.TempDir(), Options{Ask: asks, AskDir: dir}, func([]Event) {}) }()
		answer := make(chan bool, 1)
		asks <- answer
		if <-answer {
			t.Errorf("with %q it is certain", dir)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
