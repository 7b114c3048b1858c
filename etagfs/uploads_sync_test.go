package etagfs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/resumable"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestUploadAfterFailedSync: what a checkpoint could not put on the disk is not acknowledged, although the next sync
// succeeds: the system may have dropped it.
func TestUploadAfterFailedSync(t *testing.T) {
	var fails atomic.Bool
	below, err := fs.Open(t.TempDir(), fs.Options{Before: func(c vfs.Call) error {
		if c.Op == "sync" && fails.CompareAndSwap(true, false) {
			return syscall.EIO
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(below, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := t.Context()
	body := bytes.Repeat([]byte("0123456789abcdef"), (resumable.Checkpoint+1<<20)/16)
	expires := time.Now().Add(time.Hour)
	u, err := s.NewUpload(ctx, "f", tree.UploadOptions{Length: int64(len(body)), Expires: expires}, tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	fails.Store(true)
	if err := u.Append(ctx, bytes.NewReader(body), tree.AppendOptions{}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("a sync that fails: %v", err)
	}
	if got := u.State().Offset; got != 0 {
		t.Errorf("then the offset is %d", got)
	}
	id := u.State().ID
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if u, err = s.OpenUpload(ctx, id); err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if got := u.State().Offset; got != 0 {
		t.Errorf("the next request finds the offset %d", got)
	}
	for from := 0; from < len(body); from += len(body) / 2 {
		if err := u.Append(ctx, bytes.NewReader(body[from:from+len(body)/2]), tree.AppendOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	state, _, err := u.Put(ctx, "f", tree.PutOptions{}, tree.Condition{})
	if err != nil || state.Tag != tree.TagOf(sha256.Sum256(body)) {
		t.Errorf("Put: %+v, %v", state, err)
	}
}

// TestUploadLivesFromItsLastByte: a body may come for longer than an upload without bytes is kept.
func TestUploadLivesFromItsLastByte(t *testing.T) {
	start := time.Now()
	var passed atomic.Int64
	now := func() time.Time { return start.Add(time.Duration(passed.Load())) }
	s, _ := openHooked(t, t.TempDir(), Options{Now: now}, func(vfs.Call) error { return nil })
	ctx := t.Context()
	opts := tree.UploadOptions{Length: 10, Expires: now().Add(time.Hour)}
	u, err := s.NewUpload(ctx, "f", opts, tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	slow := readerFunc(func(p []byte) (int, error) {
		passed.Add(int64(2 * time.Hour))
		return copy(p, "hello"), errors.New("the line is broken")
	})
	later := tree.AppendOptions{Expires: func() time.Time { return now().Add(time.Hour) }}
	if err := u.Append(ctx, slow, later); err == nil {
		t.Fatal("a line that is broken is no error")
	}
	id := u.State().ID
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if u, err = s.OpenUpload(ctx, id); err != nil {
		t.Fatalf("then the upload is gone: %v", err)
	}
	defer u.Close()
	if got := u.State(); got.Offset != 5 || !got.Expires.Equal(now().Add(time.Hour)) {
		t.Errorf("%+v", got)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
