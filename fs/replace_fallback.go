package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"strconv"
	"strings"
)

// replace is for where names cannot be exchanged: it renames, so that to is never half of anything.
func (p *place) replace(from, to string, directory bool, over Info, how How) error {
	h, err := p.hold(to, over, how)
	if err != nil {
		return err
	}
	defer h.release()
	n := note{path: to, cause: how.Cause, tag: how.Tag, seen: over}
	if over.Kind != Directory && !directory {
		if p.opts.History {
			p.linkIntoHistory(to, n)
		}
		return p.calls.Rename(from, to)
	}
	gone, err := p.displace(to, from)
	if err != nil {
		return err
	}
	if err := p.renameNew(from, to); err != nil {
		return errors.Join(err, p.restore(gone, to, from))
	}
	// It has given way for good, and without its name there is nothing to put back. Should neither call succeed, recovery
	// finds that what it gave way to has the name.
	old := gone + "/" + displacedOld
	entry, err := p.enter(old, removedPrefix, n)
	if err != nil {
		_ = p.rename(old, gone+"/"+displacedGone)
		return nil
	}
	p.keep(entry)
	p.forget(gone)
	return nil
}

// displace takes what is at name out of the way of by, so that it can be put back, also by the next process.
func (p *place) displace(name, by string) (dir string, err error) {
	info, err := p.calls.Lstat(by)
	if err != nil {
		return "", err
	}
	dir = p.unique(p.session, displacedName)
	if err := p.calls.Mkdir(dir, 0o777); err != nil {
		return "", err
	}
	err = p.writeFile(dir+"/"+displacedPath, displacement{p.relative(name), p.relative(by), info.Inode, info.Born}.encode())
	if err == nil && p.opts.Durability == Full {
		err = errors.Join(p.syncDir(dir), p.syncDir(p.session))
	}
	if err == nil {
		err = p.rename(name, dir+"/"+displacedOld)
	}
	if err != nil {
		// Over a network a rename may have happened although it fails.
		return "", errors.Join(err, p.restore(dir, name, by))
	}
	return dir, nil
}

// restore puts back what has given way, if it has, and forgets that it was to. It removes nothing but our note.
func (p *place) restore(dir, name, by string) error {
	old := dir + "/" + displacedOld
	info, err := p.calls.Lstat(old)
	if err == nil {
		err = p.renameNew(old, name)
	} else if errors.Is(err, iofs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		a := away{at: old, name: name, was: info, displaced: dir, by: by}
		return p.leaveAway(a, &iofs.PathError{Op: "restore", Path: name, Err: err})
	}
	p.forget(dir)
	return nil
}

// forget removes the note of what had given way.
func (s *FS) forget(dir string) {
	_ = s.calls.Remove(dir + "/" + displacedPath) // what stays goes with the session
	_ = s.calls.Remove(dir)
}

// A displacement says where a version was that gave way, and to what: a name, and what tells whether a resource is that
// one under whichever name. The device is not part of it, which may have another number after the next boot.
type displacement struct {
	name, by string
	inode    uint64
	born     int64
}

// encode ends each field with a NUL, so that a part of it is not taken for the whole.
func (d displacement) encode() []byte {
	return fmt.Appendf(nil, "%s\x00%s\x00%d\x00%d\x00", d.name, d.by, d.inode, d.born)
}

func decodeDisplacement(data []byte) (d displacement, err error) {
	fields := strings.Split(string(data), "\x00")
	if len(fields) != 5 || fields[0] == "" || fields[1] == "" || fields[4] != "" {
		return d, errors.New("it is damaged")
	}
	d.name, d.by = fields[0], fields[1]
	if d.inode, err = strconv.ParseUint(fields[2], 10, 64); err == nil {
		d.born, err = strconv.ParseInt(fields[3], 10, 64)
	}
	return d, err
}
