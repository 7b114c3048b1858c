package scripttest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/mod/semver"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// ClientParams is [Params] for scripts that drive servers with real clients. They also have
//
//	need PROGRAM...   skip the script if one is not installed, and say so; if CI is set, fail instead
//	needfuse          the same if nothing can be mounted: not root, or no /dev/fuse
//	freeport NAME...  set each $NAME to a free port of 127.0.0.1
//	reach ADDR        wait until a server listens there
//
// the condition
//
//	[rclone:VERSION]  rclone is of that version or a later one
//
// and $GOSRC, the source tree of Go, $README and $DOCS, our own, and $CACHE, the directory of downloads.
func ClientParams(dir string, variables []string) testscript.Params {
	params := Params(dir, variables)
	setup := params.Setup
	params.Setup = func(env *testscript.Env) error {
		// Scripts have a HOME of their own, and build with the caches of the user.
		for _, name := range []string{"GOROOT", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB"} {
			value, err := exec.Command("go", "env", name).Output()
			if err != nil {
				return err
			}
			env.Setenv(name, strings.TrimSpace(string(value)))
		}
		env.Setenv("GOSRC", filepath.Join(env.Getenv("GOROOT"), "src"))
		cache, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		env.Setenv("CACHE", cache)
		top, err := filepath.Abs(".")
		if err != nil {
			return err
		}
		env.Setenv("README", filepath.Join(top, "README.md"))
		env.Setenv("DOCS", filepath.Join(top, "docs"))
		env.Setenv("HOME", env.WorkDir)
		return setup(env)
	}
	params.Condition = clientCondition
	params.Cmds["need"] = cmdNeed
	params.Cmds["needfuse"] = cmdNeedFuse
	params.Cmds["freeport"] = cmdFreePort
	params.Cmds["reach"] = cmdReach
	return params
}

// clientCondition also knows versions of clients.
func clientCondition(name string) (bool, error) {
	least, ok := strings.CutPrefix(name, "rclone:")
	if !ok {
		return condition(name)
	}
	version, err := rcloneVersion()
	if err != nil {
		return false, err
	}
	if !semver.IsValid(version) || !semver.IsValid("v"+least) {
		return false, fmt.Errorf("cannot compare the version %q with %q", version, least)
	}
	return semver.Compare(version, "v"+least) >= 0, nil
}

var rcloneVersion = sync.OnceValues(func() (string, error) {
	said, err := exec.Command("rclone", "version").Output()
	line, _, _ := strings.Cut(string(said), "\n") // rclone v1.60.1-DEV
	return strings.TrimPrefix(line, "rclone "), err
})

func cmdNeed(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "need PROGRAM...")
	for _, program := range args {
		if _, err := exec.LookPath(program); err != nil {
			missing(ts, program+" is not installed")
		}
	}
}

func cmdNeedFuse(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "needfuse")
	if os.Getuid() != 0 {
		missing(ts, "only root can mount")
	}
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		// No package would help: on a kernel without FUSE davfs2 cannot run, in CI or elsewhere.
		ts.Value(serversKey{}).(*servers).t.Skip("NOT RUN, because FUSE is not available here: " + err.Error())
	}
	fuse.Close()
}

// cmdFreePort is for programs that cannot pick a free port themselves.
func cmdFreePort(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "freeport NAME...")
	for _, name := range args {
		port, err := servertest.FreePort()
		ts.Check(err)
		ts.Setenv(name, port)
	}
}

func cmdReach(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "reach ADDR")
	deadline := time.After(4 * servertest.Patience) // other programs start more slowly than ours
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := net.Dial("tcp", args[0])
		if err == nil {
			ts.Check(conn.Close())
			return
		}
		select {
		case <-retry.C:
		case <-deadline:
			ts.Fatalf("no server listens: %v", err)
		}
	}
}

// missing ends a script that cannot run here.
func missing(ts *testscript.TestScript, why string) {
	if os.Getenv("CI") != "" {
		ts.Fatalf("%s, and CI needs it", why)
	}
	ts.Value(serversKey{}).(*servers).t.Skip("NOT RUN, because " + why)
}
