package volumes

import (
	"errors"
	iofs "io/fs"
	"path"
	"runtime"
	"slices"
	"sort"
	"strings"
	"syscall"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/spelling"
)

// Local returns a name in the form that the system calls of package vfs take.
func Local(name string) string {
	if name == "" {
		return "."
	}
	return name
}

// isRespelled reports whether Windows may take a segment for another one. It may take the segment for two segments, for
// a stream of another file, for the same name without its end, or for a short name of the state directory. All such
// segments are refused, since files on Windows cannot be told apart otherwise.
func isRespelled(segment string) bool {
	if segment == "." || segment == ".." {
		return false
	}
	return isShort(segment) || strings.ContainsAny(segment, "\\:\x00") || strings.TrimRight(segment, ". ") != segment
}

// isShort reports whether a segment may be a short name of the state directory, as FAT has them.
func isShort(segment string) bool {
	if !strings.Contains(segment, "~") {
		return false
	}
	folded := spelling.Fold(segment)
	return len(folded) <= len("ifmatc~1") && strings.HasPrefix(folded, "if") && strings.Contains(folded, "~")
}

// maxShort bounds how many segments of one name may look like a short name of the state directory. Each of them takes a
// look.
const maxShort = 8

// CheckReserved refuses every name that leads to the state directory, or that has a segment for it at any depth. A
// directory that is served as part of another one today may be served alone tomorrow.
func (s *Tree) CheckReserved(name string) error {
	at, short := 0, 0
	for segment := range strings.SplitSeq(name, "/") {
		if spelling.IsReserved(segment) || runtime.GOOS == "windows" && isRespelled(segment) {
			return reserved(name)
		}
		if isShort(segment) {
			if short++; short > maxShort {
				return reserved(name)
			}
			if err := s.checkAlias(path.Clean(name[:at]), name[:at+len(segment)]); err != nil {
				return err
			}
		}
		at += len(segment) + len("/")
	}
	if !s.anyAliases.Load() {
		return nil
	}
	// The state directory may have another name that does not look like it. So compare the directories, and not the
	// names.
	for _, v := range s.Volumes() {
		if !v.HasAliases.Load() || !vfs.IsIn(name, v.Top) || name == v.Top {
			continue
		}
		first, _, _ := strings.Cut(v.Relative(name), "/")
		if err := s.checkAlias(v.Top, path.Join(v.Top, Local(first))); err != nil {
			return err
		}
	}
	return nil
}

func reserved(name string) error {
	return &iofs.PathError{Op: "resolve", Path: name, Err: ErrReserved}
}

// checkAlias refuses a name if it is another name of the state directory in dir.
func (s *Tree) checkAlias(dir, name string) error {
	own := path.Join(dir, OwnDir)
	state, err := s.calls.Lstat(own)
	if errors.Is(err, iofs.ErrNotExist) || IsNotDir(err) {
		return nil // the tree was opened read-only, or dir is not the top of a volume
	}
	if err != nil {
		return err
	}
	info, err := s.calls.Lstat(name)
	if err == nil && info.Kind == state.Kind &&
		(info.SameFile(state) || isShort(path.Base(name)) && !s.IsListed(name)) {
		return reserved(name)
	}
	return nil
}

// maxLinks is how many links are followed before they count as a loop, as in the kernel.
const maxLinks = 40

// Follow follows the links in a name, and returns the name without links to which it leads. It succeeds for a regular
// file or a directory, and fails for all other kinds. The snapshot notes the names that Follow passes. The snapshot
// may be nil.
func (s *Tree) Follow(name string, n *Snapshot) (canonical string, info vfs.Info, err error) {
	canonical = Local(name)
	if err := n.enter(canonical); err != nil {
		return "", vfs.Info{}, err
	}
	if err := s.CheckReserved(canonical); err != nil {
		return "", vfs.Info{}, err
	}
	info, err = s.calls.Lstat(canonical)
	isLink := errors.Is(err, vfs.ErrLink) || err == nil && info.Kind == vfs.Link
	if isLink {
		var linked bool
		if canonical, linked, err = s.walk(canonical, n); err == nil {
			info, err = s.calls.Lstat(canonical)
			info.Linked = linked
			info = info.FollowedTo(canonical)
		}
	}
	switch {
	case IsNotDir(err):
		err = &iofs.PathError{Op: "resolve", Path: name, Err: iofs.ErrNotExist}
	case err == nil && info.Kind == vfs.Special:
		err = &iofs.PathError{Op: "resolve", Path: name, Err: ErrSpecial}
	}
	n.found(info)
	if isLink && n != nil && n.Follow != nil {
		err = n.Follow(info.At, err)
	}
	return canonical, info, err
}

// walk goes along a name and puts the target of each link in the place of the link. linked reports whether the name
// itself is a link, and not only a segment on the way to it.
func (s *Tree) walk(name string, n *Snapshot) (dir string, linked bool, err error) {
	dir = "."
	rest, links := strings.Split(name, "/"), 0
	for len(rest) > 0 {
		switch rest[0] {
		case "", ".":
			rest = rest[1:]
			continue
		case "..":
			if dir == "." {
				return "", false, &iofs.PathError{Op: "resolve", Path: name, Err: ErrEscapes}
			}
			dir, rest = path.Dir(dir), rest[1:]
			continue
		}
		var isLink bool
		if dir, rest, isLink, err = s.toLink(dir, rest, n); err != nil {
			return "", false, err
		}
		if !isLink {
			continue
		}
		linked = linked || len(rest) == 0
		target, err := s.calls.Readlink(dir)
		if err != nil {
			return "", false, err
		}
		if path.IsAbs(target) {
			return "", false, &iofs.PathError{Op: "resolve", Path: name, Err: ErrEscapes}
		}
		if links++; links > maxLinks {
			return "", false, &iofs.PathError{Op: "resolve", Path: name, Err: syscall.ELOOP}
		}
		dir, rest = path.Dir(dir), append(strings.Split(target, "/"), rest...)
	}
	return dir, linked, nil
}

// toLink goes from a directory along plain segments, up to the first one that is a link, or else to the last one. It
// returns the segments that are left. One look at the whole path tells whether it has a link, and a few looks tell at
// which segment. If toLink looked at each segment by its path, the number of looks would grow with the length of the
// name, and so would the time of each look.
func (s *Tree) toLink(
	dir string, rest []string, n *Snapshot,
) (at string, left []string, isLink bool, err error) {
	plain := slices.IndexFunc(rest, func(segment string) bool {
		return segment == "" || segment == "." || segment == ".."
	})
	if plain < 0 {
		plain = len(rest)
	}
	along := func(n int) string { return path.Join(dir, strings.Join(rest[:n], "/")) }
	// hasLink reports whether one of the first n segments is a link.
	hasLink := func(n int) (bool, error) {
		info, err := s.calls.Lstat(along(n))
		if errors.Is(err, vfs.ErrLink) {
			return true, nil
		}
		return info.Kind == vfs.Link, err
	}
	if err := s.CheckReserved(along(plain)); err != nil {
		return "", nil, false, err
	}
	if err := n.enter(along(plain)); err != nil {
		return "", nil, false, err
	}
	if isLink, err = hasLink(plain); err != nil || !isLink {
		return along(plain), rest[plain:], false, err
	}
	var failed error
	first := 1 + sort.Search(plain-1, func(i int) bool {
		found, err := hasLink(i + 1)
		failed = errors.Join(failed, err)
		return found
	})
	return along(first), rest[first:], true, failed
}

// IsDeadEnd reports whether an error says that a link leads to no file or directory that can be shown.
func IsDeadEnd(err error) bool {
	return errors.Is(err, iofs.ErrNotExist) || errors.Is(err, ErrEscapes) || errors.Is(err, ErrReserved) ||
		errors.Is(err, ErrSpecial) || errors.Is(err, syscall.ELOOP)
}

// IsNotDir reports whether an error says that a name on the way is no directory.
func IsNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// IsDisplaced reports whether a file cannot get a name because the directory of the name is not there any more.
func IsDisplaced(err error) bool {
	return errors.Is(err, iofs.ErrNotExist) || IsNotDir(err) || errors.Is(err, vfs.ErrLink) ||
		errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EXDEV)
}

// IsExhausted reports whether a call failed before it began, because the process or the system has too many open files
// or too little memory.
func IsExhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}
