package main

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

// actAsOwner has root act, from here on and for good, as the user that a server of dir runs as, so that nothing is left there
// that it cannot use. That is the one whose state there is, in dir or else in stateDir ("" for none); where there is none,
// the owner of dir. Others act as themselves.
func actAsOwner(dir, stateDir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	owner, err := personOf(filepath.Join(dir, stateName))
	if errors.Is(err, iofs.ErrNotExist) && stateDir != "" {
		owner, err = personOf(stateDir)
	}
	if errors.Is(err, iofs.ErrNotExist) {
		owner, err = personOf(dir)
	}
	if err != nil || owner.uid == 0 {
		return err
	}
	// In this order: the last one gives up the right to do the others.
	err = syscall.Setgroups(owner.groups)
	if err == nil {
		err = syscall.Setgid(owner.gid)
	}
	if err == nil {
		err = syscall.Setuid(owner.uid)
	}
	// The kernel hides what such a process has open, for it may have been opened as root. We look at it (/proc/self/fd).
	if err == nil {
		err = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
	if err != nil {
		return fmt.Errorf("acting as %s, whose state %s has: %w", owner.name, dir, err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("root acts as %s here, whose state %s has, and who cannot get there: %w", owner.name, dir, err)
	}
	return f.Close()
}

// A person is a user of the system.
type person struct {
	name     string // or number
	uid, gid int
	groups   []int
}

func personOf(path string) (person, error) {
	info, err := os.Stat(path)
	if err != nil {
		return person{}, err
	}
	stat := info.Sys().(*syscall.Stat_t)
	p := person{name: fmt.Sprintf("user %d", stat.Uid), uid: int(stat.Uid), gid: int(stat.Gid), groups: []int{int(stat.Gid)}}
	known, err := user.LookupId(strconv.Itoa(p.uid))
	if err != nil {
		return p, nil // nobody has to be listed to own something
	}
	p.name = known.Username
	if gid, err := strconv.Atoi(known.Gid); err == nil {
		p.gid, p.groups = gid, []int{gid}
	}
	groups, _ := known.GroupIds() // without, there is the first one
	for _, group := range groups {
		if gid, err := strconv.Atoi(group); err == nil {
			p.groups = append(p.groups, gid)
		}
	}
	return p, nil
}
