package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/handler"
)

// indexDir returns the directory of the index of tags, or "" to keep the index in memory.
func indexDir(cfg Config, dir *fs.FS) (string, error) {
	switch {
	case cfg.Memory || cfg.ReadOnly && cfg.StateDir == "":
		return "", nil
	case cfg.StateDir == "" && dir.Abilities().Shared:
		return "", nil // the banner says why
	case cfg.StateDir == "":
		return filepath.Join(cfg.Dir, stateName, "index"), nil
	}
	if err := checkStateDir(cfg, dir); err != nil {
		return "", err
	}
	root, err := realDir(cfg.Dir)
	if err != nil {
		return "", err
	}
	inside, err := isInside(cfg.StateDir, root)
	if err != nil {
		return "", fmt.Errorf("--state-dir: %w", err)
	}
	if inside {
		return "", usagef("--state-dir %s is inside the served directory: choose a directory elsewhere, or leave it out",
			cfg.StateDir)
	}
	// One state directory may serve several roots, each with a part of its own. A root keeps its part when it is
	// moved, if the system identifies directories.
	return filepath.Join(cfg.StateDir, partOf(root, dir)), nil
}

// partOf returns the name of the part of a root in a state directory.
func partOf(root string, dir *fs.FS) string {
	name := root
	if info, err := dir.Stat(""); err == nil && info.Inode != 0 && info.Born != 0 {
		name = fmt.Sprint(info.Inode, info.Born)
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(name)))[:32]
}

// checkPlace refuses an empty directory in the place of another one that was served with this state directory.
func checkPlace(cfg Config) error {
	place, root, err := placeOf(cfg)
	if err != nil {
		return err
	}
	served, err := os.ReadFile(place)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--state-dir: %w", err)
	}
	dir, err := fs.Open(cfg.Dir, fs.Options{ReadOnly: true})
	if err != nil {
		return dirError(cfg, err)
	}
	defer dir.Close()
	if part := partOf(root, dir); part == strings.TrimSpace(string(served)) {
		return nil
	}
	empty, err := isEmptyDisk(cfg.Dir)
	if err != nil || !empty {
		return err
	}
	return fmt.Errorf("%s is empty, and another directory was served here before: mount its disk first, or, if this one is to "+
		"take its place, remove %s", cfg.Dir, place)
}

// rememberPlace notes which directory is served at a path, for checkPlace.
func rememberPlace(cfg Config, dir *fs.FS) error {
	place, root, err := placeOf(cfg)
	if err != nil {
		return err
	}
	now := []byte(partOf(root, dir) + "\n")
	if before, err := os.ReadFile(place); err == nil && bytes.Equal(before, now) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(place), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(now)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), place)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// checkStateDir refuses a --state-dir that other users can write to. A sticky one, such as /tmp, is good: there other
// users cannot replace files of ours.
func checkStateDir(cfg Config, dir *fs.FS) error {
	found, err := os.Stat(cfg.StateDir)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	served, failed := dir.Stat("")
	if err = errors.Join(err, failed); err == nil {
		_, err = volumes.CheckDir(cfg.StateDir, volumes.Heir(served))
	}
	var stranger *volumes.StrangerError
	if err == nil || errors.As(err, &stranger) && stranger.Owner == "" && found.Mode()&iofs.ModeSticky != 0 {
		return nil
	}
	return fmt.Errorf("--state-dir: %w", err)
}

// openIndex opens a directory and its index. With readOnly it changes nothing but the index. To hash files the state
// directory is needed too, as it tells whether leases work.
func openIndex(dir, stateDir string, readOnly bool, report func(error)) (*backend, error) {
	cfg := Config{Config: handler.Config{ReadOnly: readOnly}, Dir: dir, StateDir: stateDir}
	below, err := fs.Open(dir, fs.Options{ReadOnly: readOnly})
	if !readOnly && stateDir != "" && isUnwritable(err) {
		cfg.ReadOnly = true
		below, err = fs.Open(dir, fs.Options{ReadOnly: true})
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", dir, err)
	}
	find := indexDir
	if readOnly {
		find = existingIndex
	}
	index, err := find(cfg, below)
	if err != nil {
		return nil, errors.Join(err, below.Close())
	}
	return newBackend(below, etagfs.Options{IndexDir: index, Report: report})
}

// existingIndex is indexDir for a look that makes nothing: the index must exist.
func existingIndex(cfg Config, dir *fs.FS) (index string, err error) {
	if index = filepath.Join(cfg.Dir, stateName, "index"); cfg.StateDir != "" {
		if index, err = indexDir(cfg, dir); err != nil {
			return "", err
		}
	}
	if _, err := os.Stat(index); err != nil {
		return "", fmt.Errorf("%s has no index yet: make one with ifmatch index warm or a server, "+
			"or give the --state-dir of its server", cfg.Dir)
	}
	return index, nil
}
