package doctor

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"r-seed-1f3a754f.example/ifmatch/limit"
)

// Bounds of the looks.
const (
	mostMembers    = 100_000         // files and directories that are looked at
	clockOff       = 5 * time.Second // that the clocks of this machine and of the disk may differ
	fewDescriptors = 4096
	leastFree      = 0.05 // of the disk
)

// A Directory is what is looked at.
type Directory struct {
	Path  string
	State string // the name of the directory with the state of a server in it, which clients do not see

	// Stat returns an error with a remedy unless Path is a directory.
	Stat func() error
	// Doubts are warnings that a start would print.
	Doubts []string
	// Try finds the abilities of the disk, with an empty directory in it.
	Try func(ctx context.Context, dir string) (Disk, error)
	// Links finds out why share links cannot be kept (nil: there are no users who could make any).
	Links func() error
}

// A Disk is what was found about a file system.
type Disk struct {
	Traits     []Trait
	Used, Free int64 // bytes; both 0: not known
}

// A Trait is an ability that a disk should have.
type Trait struct {
	Has        bool
	What, Lack string // texts for a disk that has it, and for one that does not
}

// Dir looks at a directory.
func (d *Diagnosis) Dir(ctx context.Context, at Directory) {
	dir := at.Path
	if d.stop(at.Stat()) {
		return
	}
	if os.Geteuid() == 0 {
		d.Note("these looks are those of root, and a server should run as the user who owns the files",
			"run this as that user: sudo -u USER ifmatch doctor "+dir)
	}
	for _, doubt := range at.Doubts {
		d.Note(doubt, "")
	}
	d.disk(ctx, at)
	d.members(ctx, at)
	d.links(at)
	if n := limit.System().Descriptors; n < fewDescriptors {
		d.Note(fmt.Sprintf("this process may have %d files open at once, so few clients are served at once", n),
			"raise the limit: ulimit -n 65536, or LimitNOFILE=65536 in the unit")
	} else {
		d.Good("%d files may be open at once", n)
	}
	d.clock()
}

// links tries whether users can make share links.
func (d *Diagnosis) links(at Directory) {
	if at.Links == nil {
		return
	}
	if err := at.Links(); err != nil {
		d.Note("users can make and revoke no share links, which are kept beside the users file ("+err.Error()+")",
			"let this user write there, or serve with --no-links")
		return
	}
	d.Good("share links can be kept beside the users file")
}

// disk tries the file system, in a directory of its own which is removed.
func (d *Diagnosis) disk(ctx context.Context, at Directory) {
	dir := at.Path
	in := filepath.Join(dir, at.State) // clients do not see it
	if _, err := os.Stat(in); err != nil {
		in = dir
	}
	probe, err := os.MkdirTemp(in, ".doctor-")
	if err != nil {
		d.Bad("this user cannot write to "+dir+" ("+err.Error()+")",
			"serve it with --read-only, or make this user the owner: chown -R USER "+dir)
		return
	}
	defer os.RemoveAll(probe)
	disk, err := at.Try(ctx, probe)
	if d.stop(err) {
		return
	}
	for _, trait := range disk.Traits {
		if trait.Has {
			d.Good("%s", trait.What)
		} else {
			d.Note(trait.Lack, "ext4, XFS and Btrfs have it (docs/filesystems.md)")
		}
	}
	left := humanize.Bytes(uint64(disk.Free))
	switch whole := disk.Used + disk.Free; {
	case whole == 0:
	case float64(disk.Free) < leastFree*float64(whole):
		d.Note("the disk has "+left+" left", "make room, or lower --history-size")
	default:
		d.Good("the disk has %s left", left)
	}
	d.diskClock(probe)
}

// diskClock compares the clock of this machine with that of the disk, which may be another machine's.
func (d *Diagnosis) diskClock(probe string) {
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
		d.Bad(fmt.Sprintf("the clock of the disk is off by %v", at.Sub(before).Round(time.Second)),
			"let both machines follow the same time server")
		return
	}
	d.Good("the disk has the time of this machine")
}

// members walks the tree: may this user read files and write to directories, and are there enough watches?
func (d *Diagnosis) members(ctx context.Context, at Directory) {
	var all, directories, unreadable, shut int
	var example, shutExample string
	root, err := filepath.EvalSymlinks(at.Path) // WalkDir looks at no more of a link than the link
	if d.stop(err) {
		return
	}
	err = filepath.WalkDir(root, func(name string, entry iofs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if all++; all > mostMembers {
			return filepath.SkipAll
		}
		if err == nil && entry.IsDir() {
			directories++
			if entry.Name() == at.State {
				return filepath.SkipDir
			}
			if !mayWrite(name) {
				shut++
				shutExample = name
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
		d.Bad(fmt.Sprintf("this user may not read %d files or directories, such as %s", unreadable, example),
			"make this user their owner, or give it the right to read them")
	} else {
		d.Good("this user may read the files, of which %d were looked at", min(all, mostMembers))
	}
	if shut > 0 {
		d.Note(fmt.Sprintf("nothing in %s can be changed, as this user may not write there (directories of that kind: %d)",
			shutExample, shut), "make this user the owner, or give it the right to write, unless that is meant")
	}
	most, known := watchLimit()
	switch {
	case !known:
	case directories > most:
		d.Note(fmt.Sprintf("there are %d directories and %d watches, so that not all changes of other programs are noticed "+
			"before a request", directories, most), fmt.Sprintf("sysctl fs.inotify.max_user_watches=%d", 2*directories))
	default:
		d.Good("%d watches are enough for %d directories", most, directories)
	}
}
