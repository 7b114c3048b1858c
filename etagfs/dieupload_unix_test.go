//go:build unix

package etagfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// uploadKinds are uploads that arrive in two parts. Each says how far it is as soon as a client would learn it.
func uploadKinds() []kind {
	over := func(s tree.Store) error { return put(s, "f", "old", tree.Condition{}) }
	nothing := func(tree.Store) error { return nil }
	return []kind{
		{name: "upload-new", setup: nothing, do: uploadF},
		{name: "upload-over", setup: over, do: uploadF},
		{name: "upload-over-by-two-renames", setup: over, do: uploadF, lacks: []string{"exchange"}},
		{name: "upload-same", setup: func(s tree.Store) error { return put(s, "f", "helloworld", tree.Condition{}) },
			do: uploadF},
	}
}

func uploadF(s tree.Store) error {
	u, err := s.(tree.Uploads).NewUpload(ctx, "f", tree.UploadOptions{Length: 10, Expires: time.Now().Add(time.Hour)},
		tree.Condition{})
	if err != nil {
		return err
	}
	defer u.Close()
	fmt.Println("upload", u.State().ID)
	for _, part := range []string{"hello", "world"} {
		if err := u.Append(ctx, strings.NewReader(part), tree.AppendOptions{}); err != nil {
			return err
		}
		fmt.Println("offset", u.State().Offset)
	}
	_, _, err = u.Put(ctx, "f", tree.PutOptions{}, tree.Condition{})
	if err == nil {
		fmt.Println("put")
	}
	return err
}

// TestDieInUpload kills a process at every system call of an upload. The next process goes on at the acknowledged
// offset, or knows that the upload was put.
func TestDieInUpload(t *testing.T) {
	for _, k := range uploadKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			for n := 1; dieInUploadAt(t, k, n); n++ {
			}
		})
	}
}

func dieInUploadAt(t *testing.T, k kind, n int) (died bool) {
	t.Helper()
	dir := quickDir(t)
	died, told := dieIn(t, dir, k, n, 0)
	id, offset, acknowledged := "", int64(0), false
	for line := range strings.Lines(told) {
		_, _ = fmt.Sscanf(line, "upload %s", &id)
		_, _ = fmt.Sscanf(line, "offset %d", &offset)
		acknowledged = acknowledged || line == "put\n" || line == "put"
	}
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("death at %d, %s: %s", n, told, fmt.Sprintf(format, args...))
	}
	s := openQuietly(t, dir, fs.Options{})
	defer s.Close()
	content := func() string {
		data, err := os.ReadFile(filepath.Join(dir, "f"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			fail("%v", err)
		}
		return string(data)
	}
	now := content()
	if now != "old" && now != "" && now != "helloworld" || acknowledged && now != "helloworld" {
		fail("f has %q", now)
	}
	if id == "" {
		return died
	}
	u, err := s.OpenUpload(ctx, id)
	if err != nil {
		fail("the upload: %v", err)
		return died
	}
	defer u.Close()
	state := u.State()
	if state.Offset < offset || acknowledged && state.Tag == "" {
		fail("the upload is %+v", state)
	}
	if k.name != "upload-same" && (state.Tag != "") != (now == "helloworld") {
		fail("the upload is %+v, and f has %q", state, now)
	}
	if state.Tag == "" {
		err := u.Append(ctx, strings.NewReader("helloworld"[state.Offset:]), tree.AppendOptions{})
		if err == nil {
			_, _, err = u.Put(ctx, "f", tree.PutOptions{}, tree.Condition{})
		}
		if err != nil || content() != "helloworld" {
			fail("it was %+v, and goes on to %q: %v", state, content(), err)
		}
	}
	if err := u.Remove(ctx); err != nil {
		fail("Remove: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".ifmatch/uploads/*")); left != nil {
		fail("it leaves %q", left)
	}
	return died
}
