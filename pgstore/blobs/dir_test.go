package blobs_test

import (
	"crypto/sha256"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
)

// TestDirTakenOver: a process that wakes up after another one has gone on with its object does not change that object.
func TestDirTakenOver(t *testing.T) {
	ctx, s := t.Context(), dirPlace(t).open(t)
	id := uuid.New()
	if err := write(ctx, s, id, 3, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(ctx, id, 3); !errors.Is(err, iofs.ErrExist) {
		t.Errorf("an object is made twice: %v", err)
	}
	asleep, err := s.Resume(ctx, id, 8, blobs.Kept{ID: id, Size: 3})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Resume(ctx, uuid.New(), 8, blobs.Kept{ID: id, Size: 3})
	if err == nil {
		err = errors.Join(fill(w, []byte("-good")), w.Commit(ctx, sha256.Sum256([]byte("abc-good"))))
	}
	if err := errors.Join(err, fill(asleep, []byte("-late")), asleep.Leave(ctx)); err != nil {
		t.Fatal(err)
	}
	if found, err := read(ctx, s, w.ID(), 8, 0, 8); string(found) != "abc-good" || err != nil {
		t.Errorf("the object is %q, error %v", found, err)
	}
}

// TestDirByALink: all objects are listed also where the place of a tree is a link to a directory.
func TestDirByALink(t *testing.T) {
	ctx, link, id := t.Context(), filepath.Join(t.TempDir(), "link"), uuid.New()
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	s, err := blobs.NewDir(link)
	if err == nil {
		err = write(ctx, s, id, 3, []byte("abc"))
	}
	if err != nil {
		t.Fatal(err)
	}
	var found []blobs.ID
	for one, err := range s.List(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, one)
	}
	if !slices.Equal(found, []blobs.ID{id}) {
		t.Errorf("listed: %v", found)
	}
}

// TestDirThatIsNotMounted: below the place of a tree may be an empty directory. Nothing is made there, and no object is
// said to be missing, or to be gone.
func TestDirThatIsNotMounted(t *testing.T) {
	root := filepath.Join(t.TempDir(), "place")
	ctx, tree, id := t.Context(), uuid.New(), uuid.New()
	s, err := blobs.NewDir(root)
	if err == nil {
		err = errors.Join(blobs.Claim(ctx, s, tree), write(ctx, s, id, 3, []byte("abc")))
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, below := range map[string]func() error{
		"an empty directory": func() error { return os.Mkdir(root, 0o700) },
		"none":               func() error { return os.Remove(root) },
	} {
		if _, err := os.Stat(root + "-mounted"); err != nil {
			if err := os.Rename(root, root+"-mounted"); err != nil {
				t.Fatal(err)
			}
		}
		if err := below(); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			t.Fatal(err)
		}
		w, creates := s.Create(ctx, uuid.New(), 3)
		if w != nil {
			t.Errorf("%s: an object is begun", name)
		}
		_, resumes := s.Resume(ctx, uuid.New(), 3, blobs.Kept{ID: id, Size: 3})
		_, opens := s.Open(ctx, id, 3, 0, 3)
		for what, err := range map[string]error{"create": creates, "resume": resumes, "open": opens, "delete": s.Delete(ctx, id)} {
			if err == nil || errors.Is(err, iofs.ErrNotExist) || !strings.Contains(err.Error(), "is its disk mounted?") {
				t.Errorf("%s, %s: error %v", name, what, err)
			}
		}
		if all, err := os.ReadDir(root); len(all) > 0 {
			t.Errorf("%s: it has %v, error %v", name, all, err)
		}
	}
	_ = os.Remove(root) // the empty one
	if err := os.Rename(root+"-mounted", root); err != nil {
		t.Fatal(err)
	}
	if found, err := read(ctx, s, id, 3, 0, 3); string(found) != "abc" || err != nil {
		t.Errorf("mounted again, the object is %q, error %v", found, err)
	}
	if _, err := s.Open(ctx, uuid.New(), 3, 0, 3); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("an object that is missing: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	dir := t.TempDir()
	for address, good := range map[string]bool{
		"dir://" + dir: true, "dir://host" + dir: false, dir: false, "dir://": false, "dir://" + dir + "?x": false,
		"s3://bucket": true, "s3://bucket/a/prefix/": true, "s3://": false, "s3:///prefix": false, "s3://bucket#x": false,
		"s3://bucket?endpoint=http://127.0.0.1:9000&region=here&style=path&memory=512MiB": true,
		"s3://bucket?endpoint=127.0.0.1:9000":                                             false,
		"s3://bucket?endpoint=https://s3.example/path":                                    false,
		"s3://bucket?endpoint=https://key:secret@s3.example":                              false,
		"s3://key:secret@bucket":                                                          false, "s3://key@bucket": false,
		"s3://bucket?part=5": false, "s3://bucket?region=a&region=b": false, "s3://bucket?style=other": false,
		"s3://bucket?memory=1MiB": false, "s3://bucket?memory=much": false, "s3://bucket:80": false,
	} {
		if _, err := blobs.Open(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}
