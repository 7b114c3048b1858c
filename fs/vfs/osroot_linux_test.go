package vfs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
)

// What is removed for good may be deeper than files can be open, and than a path can be long; it may have modes that
// keep everybody out.
func TestRemoveAllOfADeepTree(t *testing.T) {
	dir := t.TempDir()
	table, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	const levels = 3000
	if err := os.Mkdir(filepath.Join(dir, "t"), 0o777); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(filepath.Join(dir, "t"), syscall.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range levels {
		err := errors.Join(syscall.Mkdirat(fd, "d", 0o777), syscall.Mkdirat(fd, "empty", 0o777))
		file, failed := syscall.Openat(fd, "f", syscall.O_CREAT|syscall.O_WRONLY, 0o666)
		syscall.Close(file)
		next, again := syscall.Openat(fd, "d", syscall.O_DIRECTORY, 0)
		if err := errors.Join(err, failed, again); err != nil {
			t.Fatal(err)
		}
		syscall.Close(fd)
		fd = next
	}
	syscall.Close(fd)

	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 256
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	if err := table.RemoveAll("t"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "t")); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
	if err := table.RemoveAll("t"); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}

// Two processes that empty one trash do not take the other's work for a failure.
func TestRemoveAllBesideAnother(t *testing.T) {
	dir := t.TempDir()
	for range 2000 {
		if err := os.MkdirAll(filepath.Join(dir, "t", "d"), 0o777); err != nil {
			t.Fatal(err)
		}
		var both errgroup.Group
		for range 4 {
			both.Go(func() error {
				table, err := Open(dir, nil)
				if err != nil {
					return err
				}
				defer table.Close()
				return table.RemoveAll("t")
			})
		}
		if err := both.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}
