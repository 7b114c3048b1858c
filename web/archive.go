package web

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// archive answers with a collection as a zip archive that streams: with the members that the asker may read, their
// names and times. It has no length, and its end record is written only if all of it was. Members that are links to
// collections are left out. The parameter only, which may be repeated, selects members of the collection by their last
// segment.
func archive(a Asking) error {
	only := a.Request().URL.Query()["only"]
	z := (*zip.Writer)(nil)
	top := archiveName(a.Name())
	for m, err := range a.Members(-1) {
		if err == nil && z == nil {
			z = zip.NewWriter(a.Begin("application/zip"))
		}
		if err == nil && selected(only, a.Name(), m.Name) && a.MayRead(&m) {
			err = addMember(a, z, top, &m)
		}
		if err != nil {
			if z != nil {
				a.Cut(err)
			}
			return err
		}
	}
	if z == nil {
		z = zip.NewWriter(a.Begin("application/zip"))
	}
	if err := z.Close(); err != nil {
		a.Cut(err)
		return err
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
func addMember(a Asking, z *zip.Writer, top string, m *tree.State) error {
	segments := strings.Split(strings.TrimPrefix(strings.TrimPrefix(m.Name, a.Name()), "/"), "/")
	for i := range segments {
		segments[i] = safe(segments[i])
	}
	header := &zip.FileHeader{Name: top + "/" + strings.Join(segments, "/"), Modified: m.Modified.UTC(), Method: zip.Deflate}
	if m.Collection {
		if m.Link {
			return nil
		}
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
	return copyAll(a.Context(), w, content, state.Size)
}

func copyAll(ctx context.Context, w io.Writer, content tree.Content, size int64) error {
	_, err := content.WriteRange(ctx, w, 0, size)
	return err
}

// compressed are the extensions of files that do not become smaller.
var compressed = []string{".7z", ".avif", ".br", ".bz2", ".docx", ".flac", ".gif", ".gz", ".heic", ".jar", ".jpeg", ".jpg",
	".m4a", ".mkv", ".mov", ".mp3", ".mp4", ".odt", ".ogg", ".opus", ".png", ".pptx", ".rar", ".tgz", ".webm", ".webp",
	".woff2", ".xlsx", ".xz", ".zip", ".zst"}
