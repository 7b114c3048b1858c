package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// statDir returns the directory to serve, or an error that tells the user how to mend it.
func statDir(dir string) (os.FileInfo, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		err = fmt.Errorf("%s does not exist: make it first (mkdir -p), or name another directory", dir)
	case err != nil:
		err = fmt.Errorf("cannot serve this directory: %w", err)
	case !info.IsDir():
		err = fmt.Errorf("%s is not a directory: name the directory that contains it", dir)
	}
	return info, err
}

// checkExpected refuses a directory without the state of a server, if cfg says that it was served before. It is asked
// each time that the directory is opened, before anything is made in it. An empty mount point that is served would look
// to clients that sync as if all files were removed.
func checkExpected(cfg Config) error {
	if cfg.StateDir != "" && !cfg.hasNoDir() {
		if err := checkPlace(cfg); err != nil {
			return err
		}
	}
	if !cfg.ExpectState || cfg.hasNoDir() {
		return nil
	}
	_, err := os.Stat(filepath.Join(cfg.Dir, stateName))
	if errors.Is(err, iofs.ErrNotExist) {
		return fmt.Errorf("%s has no %s, and so was never served: mount its disk first, or leave out --expect-state "+
			"the first time that it is served", cfg.Dir, stateName)
	}
	return err
}

// placeOf returns the file of a state directory that says which directory was served at the path of cfg, and that path
// without links.
func placeOf(cfg Config) (place, root string, err error) {
	if root, err = realDir(cfg.Dir); err != nil {
		return "", "", err
	}
	return filepath.Join(cfg.StateDir, "served", fmt.Sprintf("%x", sha256.Sum256([]byte(root)))[:32]), root, nil
}

// realDir returns the absolute path of a directory without links.
func realDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", fmt.Errorf("cannot serve this directory: %w", err)
	}
	return dir, nil
}

// isEmptyDisk reports whether a directory has the members of a new file system alone.
func isEmptyDisk(dir string) (bool, error) {
	names, err := namesIn(dir, 2)
	if err != nil {
		return false, fmt.Errorf("cannot serve this directory: %w", err)
	}
	return len(names) == 0 || len(names) == 1 && names[0] == "lost+found", nil
}

// namesIn returns some names in a directory, up to a number.
func namesIn(dir string, most int) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(most)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// directories returns a configuration for each directory that is served: those of the shares, or cfg itself. Each share
// has an index of its own, so the bound of the memory for all of them is divided.
func (cfg Config) directories() []Config {
	if len(cfg.Shares) == 0 {
		return []Config{cfg}
	}
	all := make([]Config, len(cfg.Shares))
	for i, share := range cfg.Shares {
		all[i] = cfg
		all[i].Dir, all[i].Shares = share.Dir, nil
		if cfg.CacheMemory > 0 {
			all[i].CacheMemory = max(1, cfg.CacheMemory/int64(len(all))) // 0 would be the default
		}
	}
	return all
}

// doubts returns warnings about a directory that may be the mount point of a disk that is not mounted. A client that
// syncs from such an empty directory deletes its own files. It must be called before the server creates anything
// there.
func doubts(cfg Config) (all []string) {
	if cfg.hasNoDir() {
		return nil
	}
	if len(cfg.Shares) > 0 {
		for i, one := range cfg.directories() {
			for _, doubt := range doubts(one) {
				all = append(all, "/"+cfg.Shares[i].Path+": "+doubt)
			}
		}
		return all
	}
	dir, err := realDir(cfg.Dir)
	if err != nil {
		return nil // opening it reports the error
	}
	fstab, _ := os.ReadFile("/etc/fstab")
	mounted, err := os.ReadFile("/proc/self/mountinfo")
	if at := missingMount(dir, string(fstab), string(mounted)); err == nil && at != "" {
		return []string{"nothing is mounted at " + at + ", a mount point in /etc/fstab: if its disk is missing, " +
			"stop this server and mount it first, or clients that sync from here delete their files"}
	}
	if names, err := namesIn(dir, 1); err == nil && len(names) == 0 { // it has not even the state of a server
		return []string{"the directory is empty and was never served: if a disk belongs there, " +
			"stop this server and mount it first, or clients that sync from here delete their files"}
	}
	return nil
}

// missingMount returns the mount point in fstab(5) that a directory is, or is in, if no file system is mounted there
// by proc_pid_mountinfo(5). Otherwise it returns "".
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

// unescaped returns a name that those tables escape: \040 is a space.
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

// refuseRoot refuses to serve the root of the file system, unless a flag allows it.
func refuseRoot(cfg Config) error {
	if cfg.hasNoDir() || cfg.WholeSystem {
		return nil
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil // opening it reports the error
	}
	asked, err := os.Stat(dir)
	top, failed := os.Stat(filepath.VolumeName(dir) + string(filepath.Separator))
	if err != nil || failed != nil || !os.SameFile(asked, top) {
		return nil
	}
	return usagef("%s is the whole machine, with its passwords and devices: name a directory in it, "+
		"or give --whole-system to serve all of it", cfg.Dir)
}

// isInside reports whether dir, which may not exist yet, is root or below it. It compares directories, not their
// names.
func isInside(dir, root string) (bool, error) {
	rootInfo, err := os.Stat(root)
	if err != nil {
		return false, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false, err
	}
	for {
		resolved, err := filepath.EvalSymlinks(dir)
		if err == nil {
			dir = resolved
			break
		}
		if !errors.Is(err, iofs.ErrNotExist) || dir == filepath.Dir(dir) {
			return false, err
		}
		dir = filepath.Dir(dir)
	}
	for {
		if info, err := os.Stat(dir); err == nil && os.SameFile(info, rootInfo) {
			return true, nil
		}
		if dir == filepath.Dir(dir) {
			return false, nil
		}
		dir = filepath.Dir(dir)
	}
}

// isReadable reports whether this process may list a directory.
func isReadable(dir string) bool {
	_, err := namesIn(dir, 1)
	return !errors.Is(err, iofs.ErrPermission)
}
