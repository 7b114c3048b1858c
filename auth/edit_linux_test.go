package auth

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFilesBesideTheUsers: a server that may write beside the users file of another user makes the files that it needs, and
// those that root makes belong to the owner of the users.
func TestFilesBesideTheUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("this test needs root")
		}
		t.Skip("NOT RUN: it needs root")
	}
	const server = 65534
	dir := t.TempDir()
	for at := dir; at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	users := filepath.Join(dir, "users")
	if err := os.WriteFile(users, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	write := func(string) (string, error) { return "text", nil }
	owner := func(name string) int {
		t.Helper()
		info, err := os.Stat(name)
		if err != nil || info.Size() != 4 || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
		return int(info.Sys().(*syscall.Stat_t).Uid)
	}
	if err := os.Chown(dir, server, server); err != nil {
		t.Fatal(err)
	}
	as := func(uid int, do func() error) error {
		runtime.LockOSThread() // the file system takes this thread for the user
		defer runtime.UnlockOSThread()
		if _, err := unix.SetfsuidRetUid(uid); err != nil {
			t.Fatal(err)
		}
		defer unix.SetfsuidRetUid(0)
		return do()
	}
	made := filepath.Join(dir, "users.made")
	if err := as(server, func() error { return EditFile(users, made, write) }); err != nil || owner(made) != server {
		t.Errorf("the server makes a file of %d, %v", owner(made), err)
	}
	if err := os.Chown(users, server, server); err != nil {
		t.Fatal(err)
	}
	made = filepath.Join(dir, "users.other")
	if err := EditFile(users, made, write); err != nil || owner(made) != server {
		t.Errorf("root makes a file of %d, %v", owner(made), err)
	}
	if err := EditTokens(users, func(ts *Tokens) error {
		_, token, err := NewToken("ann", "phone", time.Unix(1e9, 0), time.Unix(2e9, 0), nil)
		ts.Add(token)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(TokensFile(users)); err != nil || info.Sys().(*syscall.Stat_t).Uid != server {
		t.Errorf("root makes tokens that the server cannot read: %v, %v", info, err)
	}
}
