package main

import (
	"errors"
	iofs "io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// Commands of root beside a server of another user leave no file that the server cannot use.
func TestRootActsAsTheOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	serve := []string{"ifmatch", "serve", "--addr", "127.0.0.1:0", "--watch", "off", dir}
	if os.Geteuid() == 0 {
		const nobody = 65534
		program, err := exec.LookPath("ifmatch")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir)), filepath.Dir(filepath.Dir(program))} {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		serve = append([]string{"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"}, serve...)
	}
	run := func(want string, args ...string) string {
		t.Helper()
		out, err := exec.Command("ifmatch", args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("ifmatch %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	top, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	owner := top.Sys().(*syscall.Stat_t)
	file := filepath.Join(dir, "f")
	if err := errors.Join(os.WriteFile(file, []byte("one"), 0o666), os.Chown(file, int(owner.Uid), int(owner.Gid))); err != nil {
		t.Fatal(err)
	}
	run("1 file, 1 of them hashed", "index", "warm", dir)

	s, err := servertest.Start(exec.Command(serve[0], serve[1:]...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(false); err != nil {
			t.Error(err)
		}
		if log := s.Log.String(); strings.Contains(log, "WARN") || strings.Contains(log, "ERROR") {
			t.Errorf("it is not content: %s", log)
		}
	}()
	request := func(want int, method, body string) {
		t.Helper()
		if status, _, answer := servertest.Send(t, http.DefaultClient, method, s.URL+"/f", body); status != want {
			t.Errorf("%s: %d: %s", method, status, answer)
		}
	}
	request(http.StatusNoContent, "PUT", "two")
	// The next restore is the first to make a directory for the replaced version.
	history := filepath.Join(dir, stateName, "history")
	hours, err := filepath.Glob(filepath.Join(history, "[0-9]*"))
	if err != nil || len(hours) != 1 {
		t.Fatalf("%v %v", hours, err)
	}
	// The hour before: the server would let go of one that is long past.
	name, _, _ := strings.Cut(filepath.Base(hours[0]), ".") // without the number of the part
	hour, err := time.Parse("2006010215", name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(hours[0], filepath.Join(history, hour.Add(-time.Hour).Format("2006010215"))); err != nil {
		t.Fatal(err)
	}
	run("was restored over the current version", "history", "restore", file)
	request(http.StatusNoContent, "PUT", "three")
	run("PUT", "history", "list", file)

	request(http.StatusOK, "LOCK", servertest.LockExclusive)
	run("exclusive", "locks", "list", dir)
	run("broken: ", "locks", "break", dir, "/f")
	request(http.StatusOK, "LOCK", servertest.LockExclusive)
	run("others    1 ", "index", "status", dir)
	run("1 unchanged", "index", "verify", dir)

	err = filepath.WalkDir(filepath.Join(dir, stateName), func(path string, d iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != owner.Uid {
			t.Errorf("%s is not the server's", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A server of root beside that of the owner leaves nothing that this one cannot use, and takes it for its own.
func TestRootServesBesideTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can become another user
	}
	const nobody = 65534
	dir := filepath.Join(t.TempDir(), "data")
	program, err := exec.LookPath("ifmatch")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir)), filepath.Dir(filepath.Dir(program))} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	serve := []string{"ifmatch", "serve", "--addr", "127.0.0.1:0", "--watch", "off", dir}
	start := func(args ...string) *servertest.Server {
		t.Helper()
		s, err := servertest.Start(exec.Command(args[0], args[1:]...))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	end := func(s *servertest.Server, shared bool) {
		t.Helper()
		if err := s.Stop(shared); err != nil {
			t.Error(err)
		}
		if log := s.Log.String(); strings.Contains(log, "WARN") || strings.Contains(log, "ERROR") {
			t.Errorf("it is not content: %s", log)
		}
	}
	asOwner := append([]string{"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"}, serve...)
	roots := start(serve...) // the first one ever, which makes all there is
	owners := start(asOwner...)
	for i, s := range []*servertest.Server{roots, owners, roots, owners} {
		for _, name := range []string{"/f", "/g"} {
			status, _, answer := servertest.Send(t, http.DefaultClient, "PUT", s.URL+name, strings.Repeat("x", i+1))
			if status >= 300 {
				t.Errorf("PUT %s, %d: %d %s", name, i, status, answer)
			}
		}
		if status, _, answer := servertest.Send(t, http.DefaultClient, "DELETE", s.URL+"/g", ""); status >= 300 {
			t.Errorf("DELETE, %d: %d %s", i, status, answer)
		}
	}
	end(roots, true)
	end(owners, false)
	end(start(asOwner...), false)
	end(start(serve...), false)
	err = filepath.WalkDir(filepath.Join(dir, stateName), func(path string, d iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		kept := strings.Contains(path, "/history/") && strings.Count(path[len(dir):], "/") == 4 && filepath.Base(path) != "paths"
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != nobody && !kept {
			t.Errorf("%s is root's", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A state directory that others can write to is refused. The message names them and the remedy.
func TestStateOfAStranger(t *testing.T) {
	state, outside := filepath.Join(t.TempDir(), stateName), filepath.Join(t.TempDir(), "outside")
	dir := filepath.Dir(state)
	for _, path := range []string{state, outside} {
		if err := errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o770)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"serve", "--addr", "127.0.0.1:0", dir}, "chmod go-w " + state + " " + state + "/*; else move it away"},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--state-dir", outside, t.TempDir()}, "--state-dir: " + outside + " can be written to by others"},
		{[]string{"index", "warm", dir}, "chmod go-w " + state + " " + state + "/*; else move it away"},
	} {
		out, err := exec.Command("ifmatch", test.args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), test.want) {
			t.Errorf("%q: %v: %s", test.args, err, out)
		}
	}
	// Reading needs no state.
	s, err := servertest.Start(servertest.Command("--read-only", dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(false); err != nil {
		t.Error(err)
	}
}

// An owner who cannot get to a directory is named.
func TestRootActsAsAnOwnerWhoCannotGetThere(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can become another user
	}
	above := filepath.Join(t.TempDir(), "closed")
	dir := filepath.Join(above, "data")
	if err := errors.Join(os.Mkdir(above, 0o700), os.Mkdir(dir, 0o755), os.Chown(dir, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ifmatch", "index", "warm", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "root acts as nobody, the owner") {
		t.Errorf("%v: %s", err, out)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("it has left %v, %v", names, err)
	}
}

// A directory in which the user of a server may change nothing is told of before a client is refused there.
func TestDoctorTellsWhereNothingCanBeChanged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	shut := filepath.Join(dir, "shut")
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "open"), 0o700), os.Mkdir(shut, 0o500),
		os.Chmod(dir, 0o777), os.Chmod(filepath.Join(dir, "open"), 0o777), os.Chmod(shut, 0o555))
	args := []string{"ifmatch", "doctor", dir}
	if os.Geteuid() == 0 { // root may write everywhere
		program, failed := exec.LookPath("ifmatch")
		err = errors.Join(err, failed)
		for _, path := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir)), filepath.Dir(filepath.Dir(program))} {
			err = errors.Join(err, os.Chmod(path, 0o755))
		}
		args = append([]string{"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"}, args...)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if want := "note   nothing in " + shut + " can be changed, "; err != nil || !strings.Contains(string(out), want) ||
		!strings.Contains(string(out), "directories of that kind: 1)") {
		t.Errorf("%v, and nothing of %q in\n%s", err, want, out)
	}
}
