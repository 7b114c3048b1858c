package etagfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
)

// Progress says how far a search of the tree for files that are not known has come.
type Progress struct {
	Files, Bytes        int64 // found so far
	Hashed, HashedBytes int64 // of them, because they were not known
	Took                time.Duration
	Done                bool
	Unreadable          int64 // files and directories
}

// warmUp counts what happens in the background.
type warmUp struct {
	progress                 func(Progress)
	hashedFiles, hashedBytes atomic.Int64
	inHand                   sync.WaitGroup // files that the search has handed to workers
}

// hashed ends the hash of a file that the search has found.
func (w *warmUp) hashed(size int64) {
	defer w.inHand.Done()
	if size >= 0 {
		w.hashedFiles.Add(1)
		w.hashedBytes.Add(size)
	}
}

const (
	// progressEvery is how often a search that takes long tells where it is.
	progressEvery = 30 * time.Second
	// headStart is how long the first search waits, so that who has waited for the server to start is answered first.
	headStart = 200 * time.Millisecond
	// scanPause is how long the next search waits at least.
	scanPause = time.Second
)

// search looks for files that are not known: once, and then as often as it is told to, or every now and then.
func (s *Store) search(ctx context.Context, w *warmUp, every time.Duration) {
	var again <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		again = ticker.C
	}
	wait := func(d time.Duration) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(d):
			return true
		}
	}
	if !wait(headStart) {
		return
	}
	for {
		took := s.searchOnce(ctx, w)
		if !wait(max(scanPause, took)) { // half of the time at the most
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-s.queue.scan:
		case <-again:
		}
	}
}

func (s *Store) searchOnce(ctx context.Context, w *warmUp) time.Duration {
	start := time.Now()
	files, bytes := w.hashedFiles.Load(), w.hashedBytes.Load()
	var p Progress
	tell := func() {
		p.Hashed, p.HashedBytes, p.Took = w.hashedFiles.Load()-files, w.hashedBytes.Load()-bytes, time.Since(start)
		if w.progress != nil {
			w.progress(p)
		}
	}
	told := start
	err := s.walk(ctx, func(name string, info fs.Info, err error) error {
		if err != nil {
			p.Unreadable++
			return nil
		}
		if !s.index.keeps(info.Device) {
			return nil // in memory there is no room for all
		}
		p.Files++
		p.Bytes += info.Size
		if time.Since(told) >= progressEvery {
			tell()
			told = time.Now()
		}
		if _, ok := s.index.get(info.Fingerprint); ok {
			return nil
		}
		w.inHand.Add(1)
		select {
		case s.queue.found <- task{name: name, found: true}:
			return nil
		case <-ctx.Done():
			w.inHand.Done()
			return ctx.Err()
		}
	})
	w.inHand.Wait()
	if err == nil && ctx.Err() == nil {
		p.Done = true
		tell()
	}
	return time.Since(start)
}

// walk calls visit for each file of the root's file system and of those below it whose tags the index can keep on disk, in no
// order, and with an error for what cannot be read. It follows no links. It holds the directories that it has still to visit,
// and no more.
func (s *Store) walk(ctx context.Context, visit func(name string, info fs.Info, err error) error) error {
	left := []directory{s.root}
	for len(left) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		next := left[len(left)-1]
		left = left[:len(left)-1]
		below, err := s.walkOne(ctx, next, visit)
		if err != nil {
			return err
		}
		left = append(left, below...)
	}
	return nil
}

type directory struct {
	name          string
	device, mount uint64
}

// walkOne visits the files of one directory and returns the directories in it.
func (s *Store) walkOne(ctx context.Context, of directory, visit func(name string, info fs.Info, err error) error) (below []directory, err error) {
	dir := of.name
	d, members, end := s.openDir(dir, fs.DirOptions{})
	if d == nil {
		if end = translate(end); errors.Is(end, tree.ErrNotExist) || errors.Is(end, tree.ErrNotCollection) {
			return nil, nil
		}
		return nil, visit(dir, fs.Info{}, end)
	}
	defer d.Close()
	if of.device != s.root.device {
		if s.index.meet(of.device, d.Volume(), of.mount != s.root.mount); !s.index.keeps(of.device) {
			return nil, nil
		}
	}
	for ; ; members, end = s.nextMembers(d) {
		for _, m := range members {
			name := tree.Join(dir, m.Name)
			switch {
			case m.Err != nil:
				err = visit(name, m.Info, m.Err)
			case m.Kind == fs.Directory:
				below = append(below, directory{name, m.Device, m.Mount})
			case m.Kind == fs.Regular:
				if m.Device != of.device && m.Mount == of.mount && !s.index.keeps(m.Device) {
					s.index.meet(m.Device, d.Volume(), of.mount != s.root.mount) // on an overlay
				}
				err = visit(name, m.Info, nil)
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return nil, err
			}
		}
		if end == io.EOF {
			return below, nil
		}
		if end != nil {
			return below, visit(dir, fs.Info{}, fmt.Errorf("listing %q: %w", dir, end))
		}
	}
}
