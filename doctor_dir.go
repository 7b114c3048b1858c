package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"ifmatch/limit"
)

// Bounds of the looks.
const (
	doctorPatience = time.Minute
	doctorMembers  = 100_000         // files and directories that are looked at
	clockOff       = 5 * time.Second // that the clocks of this machine and of the disk may differ
	fewDescriptors = 4096
	leastFree      = 0.05 // of the disk
)

// dir looks at a directory.
func (d *diagnosis) dir(ctx context.Context, dir string) {
	if _, err := statDir(dir); d.stop(err) {
		return
	}
	if os.Geteuid() == 0 {
		d.note("these looks are those of root, and a server should run as the user who owns the files",
			"run this as that user: sudo -u USER ifmatch doctor "+dir)
	}
	for _, doubt := range doubts(Config{Dir: dir}) {
		d.note(doubt, "")
	}
	d.disk(ctx, dir)
	d.members(ctx, dir)
	if n := limit.System().Descriptors; n < fewDescriptors {
		d.note(fmt.Sprintf("this process may have %d files open at once, so few clients are served at once", n),
			"raise the limit: ulimit -n 65536, or LimitNOFILE=65536 in the unit")
	} else {
		d.good("%d files may be open at once", n)
	}
	d.clock()
}

// disk tries the file system, in a directory of its own which is removed.
func (d *diagnosis) disk(ctx context.Context, dir string) {
	at := filepath.Join(dir, stateName) // clients do not see it
	if _, err := os.Stat(at); err != nil {
		at = dir
	}
	probe, err := os.MkdirTemp(at, ".doctor-")
	if err != nil {
		d.bad("this user cannot write to "+dir+" ("+err.Error()+")",
			"serve it with --read-only, or make this user the owner: chown -R USER "+dir)
		return
	}
	defer os.RemoveAll(probe)
	opened, err := openBackend(Config{Dir: probe}, slog.New(slog.DiscardHandler))
	if d.stop(err) {
		return
	}
	defer opened.Close()
	able := opened.dir.Abilities()
	for _, look := range []struct {
		good       bool
		what, lack string
	}{
		{able.FineTimes, "time stamps tell two changes apart",
			"time stamps are coarse, so that fresh files are hashed again"},
		{able.CreateOnly, "files are created atomically", "a new file of a local program can be overwritten"},
		{able.Exchange, "files are exchanged atomically", "what a local program changes in the instant of a commit is lost"},
		{able.Leases, "leases tell who has a file open", "there are no leases: who has a file open for writing is not seen"},
		{able.Attributes, "properties can be kept", "there are no extended attributes, so that properties cannot be set"},
		{able.Flock, "several servers may share the directory", "there are no file locks: start one server only"},
	} {
		if look.good {
			d.good("%s", look.what)
		} else {
			d.note(look.lack, "ext4, XFS and Btrfs have it (docs/filesystems.md)")
		}
	}
	used, free, err := opened.Quota(ctx, "")
	if err == nil && float64(free) < leastFree*float64(used+free) {
		d.note(fmt.Sprintf("the disk has %s left", humanize.Bytes(uint64(free))), "make room, or lower --history-size")
	} else if err == nil {
		d.good("the disk has %s left", humanize.Bytes(uint64(free)))
	}
	d.diskClock(probe)
}

// diskClock compares the clock of this machine with that of the disk, which may be another machine's.
func (d *diagnosis) diskClock(probe string) {
	name := filepath.Join(probe, "clock")
	before := time.Now()
	if d.stop(os.WriteFile(name, nil, 0o600)) {
		return
	}
	info, err := os.Stat(name)
	if d.stop(err) {
		return
	}
	after := time.Now()
	if at := info.ModTime(); at.Before(before.Add(-clockOff)) || at.After(after.Add(clockOff)) {
		d.bad(fmt.Sprintf("the clock of the disk is off by %v", at.Sub(before).Round(time.Second)),
			"let both machines follow the same time server")
		return
	}
	d.good("the disk has the time of this machine")
}

// members walks the tree: may this user read the files, and are there enough watches?
func (d *diagnosis) members(ctx context.Context, dir string) {
	var all, directories, unreadable int
	var example string
	err := filepath.WalkDir(dir, func(name string, entry iofs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if all++; all > doctorMembers {
			return filepath.SkipAll
		}
		if err == nil && entry.IsDir() {
			directories++
			if entry.Name() == stateName {
				return filepath.SkipDir
			}
		} else if err == nil && entry.Type().IsRegular() {
			var f *os.File
			if f, err = os.Open(name); err == nil {
				f.Close()
			}
		}
		if errors.Is(err, iofs.ErrPermission) {
			unreadable++
			example = name
		}
		return nil // other errors, such as a file that was removed meanwhile, are not counted
	})
	if d.stop(err) {
		return
	}
	if unreadable > 0 {
		d.bad(fmt.Sprintf("this user may not read %d files or directories, such as %s", unreadable, example),
			"make this user their owner, or give it the right to read them")
	} else {
		d.good("this user may read the files, of which %d were looked at", min(all, doctorMembers))
	}
	most, known := watchLimit()
	switch {
	case !known:
	case directories > most:
		d.note(fmt.Sprintf("there are %d directories and %d watches, so that not all changes of other programs are noticed "+
			"before a request", directories, most), fmt.Sprintf("sysctl fs.inotify.max_user_watches=%d", 2*directories))
	default:
		d.good("%d watches are enough for %d directories", most, directories)
	}
}
