//go:build amd64 || arm64

package folding

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount mounts an empty file system on a directory until the test ends. It skips the test where that cannot be.
func Mount(t testing.TB, dir string, rules Rules) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: root can mount a file system, and others cannot")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("NOT RUN: the system has no FUSE: %v", err)
	}
	unmount, err := Serve(dir, rules)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmount(); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
	})
}

// Main mounts a file system with the rules of a name, says so with a line, and serves it until the process is killed: it is
// the daemon of a script, which can be stopped. The arguments are the directory and the name.
func Main() {
	rules, err := Named(os.Args[2])
	if err == nil {
		_, err = Serve(os.Args[1], rules)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("mounted")
	select {}
}

// Serve mounts an empty file system on a directory. It returns the function that unmounts it.
func Serve(dir string, rules Rules) (unmount func() error, err error) {
	server, err := fuse.NewServer(newFileSystem(rules), dir, &fuse.MountOptions{
		FsName: "folding", Name: "folding", DirectMount: true, AllowOther: true, DisableReadDirPlus: true,
	})
	if err != nil {
		return nil, err
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		return nil, err
	}
	return server.Unmount, nil
}
