package main

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// doubts returns what speaks for it that a directory is not what the user means to serve: the place where a disk is to be
// mounted that is not. It is asked before anything is made there. Who syncs from an empty directory deletes all that he has.
func doubts(cfg Config) (all []string) {
	if cfg.Memory {
		return nil
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil // what is wrong with it will be said
	}
	fstab, _ := os.ReadFile("/etc/fstab")
	mounted, err := os.ReadFile("/proc/self/mountinfo")
	if at := missingMount(dir, string(fstab), string(mounted)); err == nil && at != "" {
		return []string{"nothing is mounted at " + at + ", which is a mount point in /etc/fstab: if its disk is missing, " +
			"stop this server and mount it first, or clients that sync from here delete what they have"}
	}
	if isEmpty(dir) {
		return []string{"the directory is empty, and was never served: if a disk is to be mounted there, " +
			"stop this server and mount it first, or clients that sync from here delete what they have"}
	}
	return nil
}

// isEmpty reports whether there is nothing in a directory, not even the state of a server.
func isEmpty(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// missingMount returns the mount point in fstab(5) that a directory is, or is in, and at which nothing is mounted, as
// proc_pid_mountinfo(5) says; "" if there is none.
func missingMount(dir, fstab, mountinfo string) string {
	var mounted []string
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); len(fields) > 4 {
			mounted = append(mounted, unescaped(fields[4]))
		}
	}
	for line := range strings.Lines(fstab) {
		fields := strings.Fields(line)
		if len(fields) < 4 || strings.HasPrefix(fields[0], "#") || !strings.HasPrefix(fields[1], "/") {
			continue
		}
		at := filepath.Clean(unescaped(fields[1]))
		inIt := dir == at || at == "/" || strings.HasPrefix(dir, at+"/")
		if inIt && !slices.Contains(mounted, at) {
			return at
		}
	}
	return ""
}

// unescaped returns a name as those tables write it: with \040 for a space.
func unescaped(s string) string {
	before, after, found := strings.Cut(s, `\`)
	if !found {
		return s
	}
	if len(after) >= 3 {
		if n, err := strconv.ParseUint(after[:3], 8, 8); err == nil {
			return before + string([]byte{byte(n)}) + unescaped(after[3:])
		}
	}
	return before + `\` + unescaped(after)
}

// refuseRoot fails where all of the machine would be served, and nobody has said that it shall be.
func refuseRoot(cfg Config) error {
	if cfg.Memory || cfg.WholeSystem {
		return nil
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil // what is wrong with it will be said
	}
	asked, err := os.Stat(dir)
	top, failed := os.Stat(filepath.VolumeName(dir) + string(filepath.Separator))
	if err != nil || failed != nil || !os.SameFile(asked, top) {
		return nil
	}
	return usagef("%s is all of this machine, with its passwords and devices: name a directory in it, "+
		"or say --whole-system if you mean it", cfg.Dir)
}

// isReadable reports whether this process may list a directory.
func isReadable(dir string) bool {
	f, err := os.Open(dir)
	if err == nil {
		_, err = f.Readdirnames(1)
		f.Close()
	}
	return !errors.Is(err, iofs.ErrPermission)
}
