package web

import (
	"archive/zip"
	"errors"
	"iter"
	"path"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The directory at the end of an archive tells of all members, and [archive/zip] holds it in memory: of each member
// heldOfMember bytes, and its path. It takes maxDirectory bytes at the most, or one archive of a large tree could fill the
// memory of the machine.
const (
	maxDirectory = 16 << 20
	heldOfMember = 400
)

// errLargeDirectory cuts an archive to which members came while it was sent.
var errLargeDirectory = errors.New("there are too many members for one archive")

// archive answers with a collection as a zip archive that streams: with the members that the asker may read, their
// names and times. It has no length, and its end record is written only if all of it was. Members that are links to
// collections are left out. The parameter only, which may be repeated, selects members of the collection by their last
// segment.
func archive(a Asking) error {
	if err := countArchived(a); err != nil {
		return err
	}
	z := zip.NewWriter(a.Begin("application/zip"))
	var err error
	for m, failed := range archived(a) {
		if err = failed; err == nil {
			err = addMember(a, z, &m)
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		a.Cut(err)
	}
	return err
}

// A member is a member of an archive, and its path there.
type member struct {
	tree.State
	path string
}

// archived yields the members of an archive. The last error is errLargeDirectory if they are too many.
func archived(a Asking) iter.Seq2[member, error] {
	only := a.Request().URL.Query()["only"]
	top := archiveName(a.Name())
	return func(yield func(member, error) bool) {
		held := 0
		for m, err := range a.Members(-1) {
			if err == nil && (!selected(only, a.Name(), m.Name) || !a.MayRead(&m) || m.Collection && m.Link) {
				continue
			}
			inside := member{m, pathIn(top, strings.TrimPrefix(strings.TrimPrefix(m.Name, a.Name()), "/"))}
			if held += heldOfMember + len(inside.path); err == nil && held > maxDirectory {
				err = errLargeDirectory
			}
			if !yield(inside, err) || err != nil {
				return
			}
		}
	}
}

// countArchived refuses an archive of too many members before it begins, when a client can still be told.
func countArchived(a Asking) error {
	for _, err := range archived(a) {
		if err == errLargeDirectory {
			return &BadQueryError{err.Error() + "; get parts of it"}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ArchiveName returns the name of the file that an archive of a collection is saved as.
func ArchiveName(name string) string { return archiveName(name) + ".zip" }

// archiveName returns the name of the directory in which an archive has its members, so that it unpacks into one place.
func archiveName(name string) string {
	_, base := tree.Split(name)
	if base = safe(base); base == "" {
		return "files"
	}
	return base
}

// safe returns a segment that unpacks as one segment on each system: a backslash separates segments on Windows, and a
// colon names a disk or a stream there.
func safe(segment string) string { return unsafe.Replace(segment) }

var unsafe = strings.NewReplacer(`\`, "\u29f5", ":", "\ua789", "\x00", "\u2400")

func selected(only []string, dir, name string) bool {
	if len(only) == 0 {
		return true
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(name, dir), "/")
	first, _, _ := strings.Cut(rest, "/")
	return slices.Contains(only, first)
}

// pathIn returns the path of a member in an archive.
func pathIn(top, name string) string {
	segments := strings.Split(name, "/")
	for i := range segments {
		segments[i] = safe(segments[i])
	}
	return top + "/" + strings.Join(segments, "/")
}

// addMember adds a member. A file that has gone since it was listed is left out.
func addMember(a Asking, z *zip.Writer, m *member) error {
	header := &zip.FileHeader{Name: m.path, Modified: m.Modified.UTC(), Method: zip.Deflate}
	if m.Collection {
		header.Name, header.Method = header.Name+"/", zip.Store
		_, err := z.CreateHeader(header)
		return err
	}
	content, state, err := a.Open(m.Name)
	switch {
	case errors.Is(err, tree.ErrNotExist), errors.Is(err, tree.ErrIsCollection):
		return nil
	case err != nil:
		return err
	}
	defer content.Close()
	if slices.Contains(compressed, strings.ToLower(path.Ext(m.Name))) {
		header.Method = zip.Store
	}
	header.Modified = state.Modified.UTC()
	w, err := z.CreateHeader(header)
	if err != nil {
		return err
	}
	_, err = content.WriteRange(a.Context(), w, 0, state.Size)
	return err
}

// compressed are the extensions of files that do not become smaller.
var compressed = []string{".7z", ".avif", ".br", ".bz2", ".docx", ".flac", ".gif", ".gz", ".heic", ".jar", ".jpeg", ".jpg",
	".m4a", ".mkv", ".mov", ".mp3", ".mp4", ".odt", ".ogg", ".opus", ".png", ".pptx", ".rar", ".tgz", ".webm", ".webp",
	".woff2", ".xlsx", ".xz", ".zip", ".zst"}
