package history

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	iofs "io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/spelling"
)

// A Kept is a version in the history: a file, a link, or a collection with all that was in it.
type Kept struct {
	Path string    // the name that the version had, "" if not known any more
	Gone time.Time // when it was replaced or removed
	// Cause says why the version was replaced or removed: a method, or one of the following words. CauseLate: a program
	// wrote to the version after that. CauseRecovered: the version could not have its name back after a commit that
	// failed, or a server died.
	Cause string
	By    string // the user whose request replaced or removed it, "" if the user was not known
	Tag   string // the ETag of the content, if it was known and the content is the same still
	// Late: a program that had the file open when it was replaced or removed has written to it after that.
	Late     bool
	vfs.Info // the version as it is now

	at string // the name of the version in the history
}

// History returns the versions that the history keeps of a name and of all names below it, the oldest first. If a
// collection above the name was removed, History returns the version that the collection had at the name. If the file
// system takes several spellings for one name, the versions have the given spelling. History may be called at any time,
// also on a tree that is open for reading only.
func (s *Histories) History(name string) ([]Kept, error) { return s.HistorySince(name, time.Time{}) }

// slack is how much later than its hour an entry of an hour may be, as it gets its directory before its time.
const slack = time.Minute

// HistorySince is [Histories.History] without the hours that ended before a time, so that their notes need not be read.
func (s *Histories) HistorySince(name string, since time.Time) ([]Kept, error) {
	var all []Kept
	for _, h := range s.all() {
		kept, err := h.keptAt(name, since)
		if err != nil {
			return nil, err
		}
		all = append(all, kept...)
	}
	slices.SortFunc(all, oldestFirst)
	return all, nil
}

func oldestFirst(a, b Kept) int {
	return cmp.Or(a.Gone.Compare(b.Gone), strings.Compare(a.Path, b.Path))
}

func (h *History) keptAt(name string, since time.Time) (all []Kept, err error) {
	dirs, err := h.hours()
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if hour, _ := hourOf(dir); hour.Add(time.Hour + slack).Before(since) {
			continue
		}
		notes := h.notes(dir)
		if name == "" {
			h.addUnnoted(dir, notes)
		}
		for base, n := range notes {
			if h.volume.HasAliases.Load() && name != "" {
				n.Path = volumes.SpelledLike(name, n.Path)
			}
			rest, isAbove := strings.CutPrefix(name, n.Path+"/")
			isAbove = isAbove && n.Path != ""
			if !isAbove && name != "" && n.Path != name && !strings.HasPrefix(n.Path, name+"/") {
				continue // before the disk is asked: a history has many entries
			}
			k, ok := h.kept(dir+"/"+base, n)
			if ok && isAbove {
				k, ok = h.keptMember(k, rest)
			}
			if ok {
				all = append(all, k)
			}
		}
	}
	return all, nil
}

// addUnnoted adds the entries of a directory of the history that have no note. Either the power failed before the note
// was on disk, or a server without a history died.
func (h *History) addUnnoted(dir string, notes map[string]Note) {
	names, err := h.tree.Entries(dir)
	if err != nil {
		return
	}
	for _, name := range names {
		if _, ok := notes[name]; !ok && name != pathsName {
			notes[name] = unnoted(dir)
		}
	}
}

// unnoted is what is known of an entry that has no note.
func unnoted(dir string) Note {
	hour, _ := hourOf(dir)
	return Note{Cause: CauseRecovered, Time: hour.UnixNano()}
}

// noteOf returns the note of an entry. It holds one line at a time: a directory has many notes, and many requests may
// ask for a version at once.
func (h *History) noteOf(dir, entry string) Note {
	n := unnoted(dir)
	f, err := h.calls.Open(dir + "/" + pathsName)
	if err != nil {
		return n
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return n
	}
	begin := []byte(entry + "\t")
	lines := bufio.NewScanner(io.NewSectionReader(f, 0, info.Size))
	lines.Buffer(nil, int(info.Size)+1)
	for lines.Scan() {
		if bytes.HasPrefix(lines.Bytes(), begin) {
			if one, ok := decodeNote(lines.Text()); ok {
				n = h.absolute(one)
			}
		}
	}
	return n
}

// OutsideHistory returns a file or collection that is at a name in the form of a version of the history.
func OutsideHistory(at, path string, info vfs.Info) Kept { return Kept{Path: path, Info: info, at: at} }

// ID returns the string by which [Histories.KeptByID] finds the version, as long as it is kept. No two versions have
// the same ID.
func (k Kept) ID() string { return k.at }

// KeptByID returns the version with an ID. The error is [ErrNotExist] if there is no such version, or if it is not kept
// any more.
func (s *Histories) KeptByID(id string) (Kept, error) {
	none := &iofs.PathError{Op: "find", Path: id, Err: iofs.ErrNotExist}
	if !iofs.ValidPath(id) {
		return Kept{}, none
	}
	for _, h := range s.all() {
		dirs, err := h.hours()
		if err != nil {
			return Kept{}, err
		}
		for _, dir := range dirs {
			rest, ok := strings.CutPrefix(id, dir+"/")
			if !ok {
				continue
			}
			entry, inside, isMember := strings.Cut(rest, "/")
			k, ok := h.kept(dir+"/"+entry, h.noteOf(dir, entry))
			if ok && isMember {
				k, ok = h.keptMember(k, inside)
			}
			if entry != pathsName && ok {
				return k, nil
			}
			return Kept{}, none
		}
	}
	return Kept{}, none
}

// Inside returns the members of a collection that the history keeps, sorted by name. Each is looked at when its turn
// comes, so that a large collection takes no more memory than the names of its members. An error is the last result.
func (s *disk) Inside(k Kept) iter.Seq2[Kept, error] {
	return func(yield func(Kept, error) bool) {
		names, err := s.tree.Entries(k.at)
		if err != nil {
			yield(Kept{}, err)
			return
		}
		slices.Sort(names)
		for _, name := range names {
			if spelling.IsReserved(name) {
				continue // the collection was a subvolume, with a state directory of its own
			}
			if m, ok := s.keptMember(k, name); ok && !yield(m, nil) {
				return
			}
		}
	}
}

// OpenKept opens a file that the history keeps.
func (s *Histories) OpenKept(k Kept) (*vfs.File, vfs.Info, error) {
	f, err := s.calls.Open(k.at)
	if err != nil {
		return nil, vfs.Info{}, err
	}
	info, err := f.Stat()
	if err == nil && info.Kind != vfs.Regular {
		err = &iofs.PathError{Op: "open", Path: k.Path, Err: volumes.ErrSpecial}
	}
	if err != nil {
		f.Close()
		return nil, vfs.Info{}, err
	}
	info.Name = path.Base(k.Path)
	return f, info, nil
}

// ReadlinkKept returns the target of a link that the history keeps.
func (s *Histories) ReadlinkKept(k Kept) (string, error) { return s.calls.Readlink(k.at) }

// kept looks at an entry of the history. ok is false if there is none: it was put back, or has expired, or it is a new
// version on its way to a name. A caller without the lock may see a resource that gets another spelling of its name.
func (s *disk) kept(at string, n Note) (k Kept, ok bool) {
	info, err := s.calls.Lstat(at)
	if err != nil {
		return Kept{}, false
	}
	return keptAs(info, at, n)
}

// keptAs is [disk.kept] for an entry that was looked at.
func keptAs(info vfs.Info, at string, n Note) (k Kept, ok bool) {
	if inode, made := madeFor(path.Base(at)); made && info.Inode == inode {
		return Kept{}, false
	}
	k = Kept{Path: n.Path, Gone: time.Unix(0, n.Time), Cause: n.Cause, By: n.By, Tag: n.Tag, Info: info, at: at}
	k.Name = path.Base(n.Path)
	if info.Kind == vfs.Regular && n.Seen.Exists() && (info.Size != n.Seen.Size || info.Modified != n.Seen.Modified) {
		k.Late, k.Tag = true, ""
	}
	return k, true
}

// keptMember looks at a member of a collection that the history keeps.
func (s *disk) keptMember(k Kept, rest string) (Kept, bool) {
	if k.Kind != vfs.Directory {
		return Kept{}, false
	}
	info, err := s.calls.Lstat(k.at + "/" + rest)
	if err != nil {
		return Kept{}, false
	}
	m := k
	m.Path, m.at, m.Tag, m.Info = k.Path+"/"+rest, k.at+"/"+rest, "", info
	m.Name = path.Base(rest)
	// Neither time alone proves anything: a program can set a modification time to any value, and a new name of a file
	// changes the other time. Bytes written within a tick of the kernel's clock (10 ms at most) after the removal are
	// kept as all the others are, and do not count as late.
	gone := k.Gone.UnixNano()
	m.Late = info.Kind == vfs.Regular && info.Changed > gone && (info.Modified > gone || info.Born > gone)
	return m, true
}

// hours returns the directories of the history, the oldest first.
func (h *History) hours() ([]string, error) {
	names, err := h.tree.Entries(h.volume.StatePath(volumes.HistoryPart))
	names = slices.DeleteFunc(names, func(name string) bool { _, ok := hourOf(name); return !ok })
	slices.Sort(names)
	for i, name := range names {
		names[i] = h.volume.StatePath(volumes.HistoryPart) + "/" + name
	}
	return names, vfs.Ignoring(err, iofs.ErrNotExist)
}

// hourOf returns the hour of a directory of the history.
func hourOf(dir string) (time.Time, bool) {
	hour, _, _ := strings.Cut(path.Base(dir), ".")
	t, err := time.Parse(hourFormat, hour)
	return t, err == nil
}

// version is [disk.kept] for an entry that may be dropped. ok is also false for an entry that this process holds.
func (h *History) version(at string, n Note) (k Kept, ok bool) {
	k, ok = h.kept(at, n)
	return k, ok && !h.holdsIn(at)
}
