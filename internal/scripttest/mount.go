package scripttest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/rogpeppe/go-internal/testscript"
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

// daemons are the processes that serve the file systems of a script, by where these are mounted.
type daemons map[string]*exec.Cmd

type daemonsKey struct{}

// end ends all daemons. Servers must have stopped.
func (d daemons) end() {
	for dir, daemon := range d {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
		_ = exec.Command("umount", "--lazy", dir).Run()
	}
}

// thaw has those go on that are stopped.
func (d daemons) thaw() {
	for _, daemon := range d {
		_ = continueProcess(daemon.Process)
	}
}

// cmdFolding mounts a file system with the naming rules of another operating system, until the script ends. It has a
// daemon of its own.
func cmdFolding(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "folding DIR RULES")
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o777))
	daemon := exec.Command("foldingd", dir, args[1])
	daemon.Stderr = os.Stderr
	said, err := daemon.StdoutPipe()
	ts.Check(err)
	ts.Check(daemon.Start())
	ts.Value(daemonsKey{}).(daemons)[dir] = daemon
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil {
		ts.Fatalf("folding %q: %q, %v", args, line, err)
	}
}

// cmdFreeze stops the daemon of a file system: no call to it is answered until thaw.
func cmdFreeze(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "freeze DIR")
	ts.Check(stopProcess(daemonOf(ts, args[0])))
}

func cmdThaw(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "thaw DIR")
	ts.Check(continueProcess(daemonOf(ts, args[0])))
}

func daemonOf(ts *testscript.TestScript, dir string) *os.Process {
	daemon := ts.Value(daemonsKey{}).(daemons)[ts.MkAbs(dir)]
	if daemon == nil {
		ts.Fatalf("folding has mounted nothing on %s", dir)
	}
	return daemon.Process
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
