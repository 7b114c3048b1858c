package scripttest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/rogpeppe/go-internal/testscript"

	"r-seed-1f3a754f.example/ifmatch/internal/folding"
)

// condition knows [mounts], true if file systems can be mounted, and [fuse], true if FUSE works too.
func condition(name string) (bool, error) {
	mounts := runtime.GOOS == "linux" && os.Geteuid() == 0
	switch name {
	case "mounts":
		return mounts, nil
	case "fuse":
		_, err := os.Stat("/dev/fuse")
		return mounts && err == nil, nil
	case "cluster":
		return false, nil // it is another function where servers are fronts of clusters
	}
	return false, fmt.Errorf("there is no condition %q", name)
}

func cmdTmpfs(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "tmpfs DIR SIZE")
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o777))
	cmdMount(ts, neg, []string{"-t", "tmpfs", "-o", "size=" + args[1], "tmpfs", args[0]})
}

// cmdFolding mounts a file system with the naming rules of another operating system, until the script ends.
func cmdFolding(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "folding DIR RULES")
	rules, err := folding.Named(args[1])
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o777))
	_, err = folding.Serve(dir, rules)
	ts.Check(err)
	ts.Defer(func() { _ = exec.Command("umount", "--lazy", dir).Run() })
}

// cmdMount mounts on the last argument, until the script ends or unmounts it itself.
func cmdMount(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "mount OPTION... DIR")
	mount := exec.Command("mount", args...)
	mount.Dir = ts.MkAbs(".")
	if out, err := mount.CombinedOutput(); err != nil {
		ts.Fatalf("mount %q: %v: %s", args, err, out)
	}
	ts.Defer(func() {
		// Servers stop later, and their open files must not keep it mounted.
		_ = exec.Command("umount", "--lazy", ts.MkAbs(args[len(args)-1])).Run()
	})
}

// withWatches bounds the inotify watches of one command, in a user namespace of its own (user_namespaces(7)).
func withWatches(n string, command []string) []string {
	const limit = `echo "$0" >/proc/sys/user/max_inotify_watches && exec "$@"`
	return append([]string{"unshare", "--user", "--map-root-user", "sh", "-c", limit, n}, command...)
}
