package blobs_test

import (
	"crypto/sha256"
	"errors"
	iofs "io/fs"
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
