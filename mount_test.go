package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"ifmatch/fs/folding"
)

// condition knows [mounts]: a script may mount file systems here, which .ci/run may; and [fuse]: those of programs too.
func condition(name string) (bool, error) {
	mounts := runtime.GOOS == "linux" && os.Geteuid() == 0
	switch name {
	case "mounts":
		return mounts, nil
	case "fuse":
		_, err := os.Stat("/dev/fuse")
		return mounts && err == nil, nil
	}
	return false, fmt.Errorf("there is no condition %q", name)
}

func cmdTmpfs(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "tmpfs DIR SIZE")
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o777))
	cmdMount(ts, neg, []string{"-t", "tmpfs", "-o", "size=" + args[1], "tmpfs", args[0]})
}

// cmdFolding mounts a file system with the rules of another system, until the script ends.
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
		// The servers stop later, and what they have open does not keep it.
		_ = exec.Command("umount", "--lazy", ts.MkAbs(args[len(args)-1])).Run()
	})
}

// withWatches bounds the watches of a command and of nobody else: in a user namespace of its own (user_namespaces(7)).
func withWatches(n string, command []string) []string {
	const limit = `echo "$0" >/proc/sys/user/max_inotify_watches && exec "$@"`
	return append([]string{"unshare", "--user", "--map-root-user", "sh", "-c", limit, n}, command...)
}

func cmdFill(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "fill PATH SIZE")
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	r, _ := parseRequest(ts, []string{"PUT", args[0]})
	r.hasBody = true
	for n := 1; ; n++ {
		r.target = args[0] + strconv.Itoa(n)
		r.body = bytes.Repeat([]byte{byte(n)}, size)
		answer, body, err := r.send1()
		ts.Check(err)
		if answer.StatusCode/100 != 2 {
			ts.Logf("after %d files", n-1)
			printAnswer(ts.Stdout(), answer, body)
			return
		}
	}
}
