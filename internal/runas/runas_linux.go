// Package runas makes a command that root runs act as the user of the server whose directory it works on, so that every
// file it creates there belongs to that user.
package runas

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Owner drops the privileges of root for good: the process becomes the user of the server of dir. This user is the owner of
// the state directory with a name in dir, else of stateDir ("": none), else of dir. For other users than root it does
// nothing.
func Owner(dir, stateName, stateDir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	owner, err := ownerOf(filepath.Join(dir, stateName))
	if errors.Is(err, iofs.ErrNotExist) && stateDir != "" {
		owner, err = ownerOf(stateDir)
	}
	if errors.Is(err, iofs.ErrNotExist) {
		owner, err = ownerOf(dir)
	}
	if err != nil || owner.uid == 0 {
		return err
	}
	// Setuid comes last: it gives up the right to do the others.
	err = syscall.Setgroups(owner.groups)
	if err == nil {
		err = syscall.Setgid(owner.gid)
	}
	if err == nil {
		err = syscall.Setuid(owner.uid)
	}
	// The kernel hides the open files of such a process, as root may have opened them. We need /proc/self/fd.
	if err == nil {
		err = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
	if err != nil {
		return fmt.Errorf("root cannot act as %s, the owner of the state of %s: %w", owner.name, dir, err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("root acts as %s, the owner of the state of %s, and this user cannot open it: %w",
			owner.name, dir, err)
	}
	return f.Close()
}

// An account is a user of the system.
type account struct {
	name     string // or "user NUMBER"
	uid, gid int
	groups   []int
}

func ownerOf(path string) (account, error) {
	info, err := os.Stat(path)
	if err != nil {
		return account{}, err
	}
	stat := info.Sys().(*syscall.Stat_t)
	uid, gid := int(stat.Uid), int(stat.Gid)
	p := account{name: fmt.Sprintf("user %d", uid), uid: uid, gid: gid, groups: []int{gid}}
	known, err := user.LookupId(strconv.Itoa(p.uid))
	if err != nil {
		return p, nil // a file may belong to an unlisted user
	}
	p.name = known.Username
	if gid, err := strconv.Atoi(known.Gid); err == nil {
		p.gid, p.groups = gid, []int{gid}
	}
	groups, _ := known.GroupIds() // an error leaves the primary group
	for _, group := range groups {
		if gid, err := strconv.Atoi(group); err == nil {
			p.groups = append(p.groups, gid)
		}
	}
	return p, nil
}
