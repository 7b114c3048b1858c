package web

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// maxArchived bounds the members of an archive. The directory of so many has room in what a listing may hold.
const maxArchived = 50_000

// archive answers with a collection as a zip archive that streams: with the members that the asker may read, their
// names and times. It has no length, and its end record is written only if all of it was. Members that are links to
// collections are left out. The parameter only, which may be repeated, selects members of the collection by their last
// segment.
func archive(a Asking) error {
	if err := countArchived(a); err != nil {
		return err
	}
	z := newZipWriter(a.Begin("application/zip"))
	top := archiveName(a.Name())
	var err error
	for m, failed := range archived(a) {
		if err = failed; err == nil {
			err = addMember(a, z, top, &m)
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = z.close()
	}
	if err != nil {
		a.Cut(err)
	}
	return err
}

// archived yields the members of an archive.
func archived(a Asking) Members {
	only := a.Request().URL.Query()["only"]
	return func(yield func(tree.State, error) bool) {
		for m, err := range a.Members(-1) {
			if err == nil && (!selected(only, a.Name(), m.Name) || !a.MayRead(&m)) {
				continue
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// countArchived refuses an archive of too many members before it begins, when a client can still be told.
func countArchived(a Asking) error {
	n := 0
	for _, err := range archived(a) {
		if err != nil {
			return err
		}
		if n++; n > maxArchived {
			return &BadQueryError{fmt.Sprintf("this has more than %d members, which is too much for one archive; get parts of it",
				maxArchived)}
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

// addMember adds a member. A file that has gone since it was listed is left out.
func addMember(a Asking, z *zipWriter, top string, m *tree.State) error {
	segments := strings.Split(strings.TrimPrefix(strings.TrimPrefix(m.Name, a.Name()), "/"), "/")
	for i := range segments {
		segments[i] = safe(segments[i])
	}
	member := &zipMember{name: top + "/" + strings.Join(segments, "/"), modified: m.Modified.UTC()}
	if m.Collection {
		if m.Link {
			return nil
		}
		member.name, member.stored = member.name+"/", true
		return z.add(member, nil)
	}
	content, state, err := a.Open(m.Name)
	switch {
	case errors.Is(err, tree.ErrNotExist), errors.Is(err, tree.ErrIsCollection):
		return nil
	case err != nil:
		return err
	}
	defer content.Close()
	member.stored = slices.Contains(compressed, strings.ToLower(path.Ext(m.Name)))
	member.modified = state.Modified.UTC()
	return z.add(member, func(w io.Writer) error {
		_, err := content.WriteRange(a.Context(), w, 0, state.Size)
		return err
	})
}

// compressed are the extensions of files that do not become smaller.
var compressed = []string{".7z", ".avif", ".br", ".bz2", ".docx", ".flac", ".gif", ".gz", ".heic", ".jar", ".jpeg", ".jpg",
	".m4a", ".mkv", ".mov", ".mp3", ".mp4", ".odt", ".ogg", ".opus", ".png", ".pptx", ".rar", ".tgz", ".webm", ".webp",
	".woff2", ".xlsx", ".xz", ".zip", ".zst"}
