package blobs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	iofs "io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"r-seed-1f3a754f.example/ifmatch/internal/s3test"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
)

func init() { minio.DefaultRetryUnit = time.Millisecond } // a wait before each try would be most of the tests

// A place opens the same objects again and again, as several replicas do. part is the size of a part, which the tests
// write around.
type place struct {
	open func(t *testing.T) blobs.Store
	part int
}

func dirPlace(t *testing.T) place {
	dir := t.TempDir()
	return place{part: blobs.Step, open: func(t *testing.T) blobs.Store {
		s, err := blobs.NewDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}}
}

func options(url string) blobs.S3Options {
	return blobs.S3Options{Bucket: s3test.Bucket, Prefix: "some/prefix", Endpoint: url, Part: blobs.Step,
		Credentials: keys(s3test.Access)}
}

func keys(access string) *credentials.Credentials {
	return credentials.NewStaticV4(access, s3test.Secret, "")
}

func s3Place(opts blobs.S3Options) place {
	return place{part: int(opts.Part), open: func(t *testing.T) blobs.Store {
		s, err := blobs.NewS3(opts)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}}
}

func TestDir(t *testing.T) { suite(t, dirPlace) }

func TestS3(t *testing.T) {
	suite(t, func(t *testing.T) place {
		server := s3test.New(t)
		server.MinPart = blobs.Step
		return s3Place(options(server.URL))
	})
}

// text returns bytes that are not the same in any two parts.
func text(n int) []byte {
	all := make([]byte, n)
	state := uint32(n)
	for i := range all {
		state = state*1664525 + 1013904223
		all[i] = byte(state >> 24)
	}
	return all
}

func read(ctx context.Context, s blobs.Store, id blobs.ID, size, offset, n int) ([]byte, error) {
	r, err := s.Open(ctx, id, int64(size), int64(offset), int64(n))
	if err != nil {
		return nil, err
	}
	all, err := io.ReadAll(r)
	return all, errors.Join(err, r.Close())
}

// write stores an object, in writes of uneven lengths.
func write(ctx context.Context, s blobs.Store, id blobs.ID, length int64, all []byte) error {
	w, err := s.Create(ctx, id, length)
	if err != nil {
		return err
	}
	if err = fill(w, all); err == nil {
		err = w.Commit(ctx, sha256.Sum256(all))
	}
	if err != nil {
		return errors.Join(err, w.Abort(ctx))
	}
	return nil
}

func fill(w io.Writer, all []byte) error {
	for some := range slices.Chunk(all, 300_001) {
		if _, err := w.Write(some); err != nil {
			return err
		}
	}
	return nil
}

func objects(t *testing.T, s blobs.Store) (ids []blobs.ID) {
	t.Helper()
	for id, err := range s.List(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// suite is what each store promises.
func suite(t *testing.T, make func(*testing.T) place) {
	t.Run("objects", func(t *testing.T) { testObjects(t, make(t)) })
	t.Run("kept", func(t *testing.T) { testKept(t, make(t)) })
	t.Run("given up", func(t *testing.T) { testGivenUp(t, make(t)) })
	t.Run("listing", func(t *testing.T) { testListing(t, make(t)) })
	t.Run("claim", func(t *testing.T) { testClaim(t, make(t)) })
}

func testObjects(t *testing.T, p place) {
	ctx, s := t.Context(), p.open(t)
	for _, size := range []int{1, 17_000, p.part - 1, p.part, p.part + 1, 2 * p.part, 2*p.part + 1, 4*p.part + 5} {
		for _, length := range []int64{int64(size), -1} {
			id, all := uuid.New(), text(size)
			if err := write(ctx, s, id, length, all); err != nil {
				t.Fatalf("%d bytes, of a length of %d: %v", size, length, err)
			}
			for _, r := range [][2]int{{0, size}, {0, 1}, {size - 1, 1}, {size / 2, 0}, {size / 3, size / 2},
				{p.part - 1, 2}, {p.part, 1}, {2*p.part - 1, 2}, {2 * p.part, p.part}} {
				if r[0]+r[1] > size {
					continue
				}
				found, err := read(ctx, p.open(t), id, size, r[0], r[1])
				if err != nil || !bytes.Equal(found, all[r[0]:r[0]+r[1]]) {
					t.Errorf("%d bytes from %d of %d: %d others, error %v", r[1], r[0], size, len(found), err)
				}
			}
			for _, wrong := range []int{size + 1, size - 1} {
				if found, err := read(ctx, s, id, wrong, 0, max(wrong, 1)); !errors.Is(err, blobs.ErrDamaged) {
					t.Errorf("%d bytes that are to be %d: %d are read, error %v", size, wrong, len(found), err)
				}
			}
			for range 2 {
				if err := s.Delete(ctx, id); err != nil {
					t.Error(err)
				}
			}
			if _, err := read(ctx, s, id, size, 0, size); !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("a deleted object: %v", err)
			}
		}
	}
}

// testKept: what was kept goes on at any store, and what came after it is forgotten.
func testKept(t *testing.T, p place) {
	ctx := t.Context()
	size := 3*p.part + 100
	all := text(size)
	for _, at := range [][]int{
		{1}, {p.part}, {p.part + 1, p.part + 2}, {10, p.part, 2*p.part - 1, 3 * p.part}, {size}, {0},
	} {
		for _, taken := range []bool{false, true} {
			id, kept := uuid.New(), blobs.Kept{}
			kept.ID = id
			used := []blobs.ID{id} // by writers and tails
			for _, end := range at {
				if taken {
					id = uuid.New()
					used = append(used, id)
				}
				w, err := p.open(t).Resume(ctx, id, int64(size), kept)
				if err == nil {
					err = fill(w, all[kept.Size:end])
				}
				if err != nil {
					t.Fatalf("kept at %d: %v", at, err)
				}
				whole := w.Whole()
				next, err := w.Keep(ctx, func() (blobs.ID, error) {
					if whole {
						t.Error("a writer that is whole wants another object")
					}
					used = append(used, uuid.New())
					return used[len(used)-1], nil
				})
				if err != nil || next.Size != int64(end) {
					t.Fatalf("kept at %d: %+v, error %v", at, next, err)
				}
				if kept = next; end < size {
					err = fill(w, text(20)) // it is forgotten
				}
				if err := errors.Join(err, w.Leave(ctx)); err != nil {
					t.Fatal(err)
				}
			}
			w, err := p.open(t).Resume(ctx, id, int64(size), kept)
			if err == nil {
				err = fill(w, all[kept.Size:])
			}
			if err == nil {
				err = w.Commit(ctx, sha256.Sum256(all))
			}
			if err != nil {
				t.Fatalf("kept at %d: %v", at, err)
			}
			found, err := read(ctx, p.open(t), w.ID(), size, 0, size)
			if err != nil || !bytes.Equal(found, all) {
				t.Errorf("kept at %d: %d other bytes, error %v", at, len(found), err)
			}
			s := p.open(t)
			for _, id := range used {
				if err := s.Discard(ctx, id); err != nil {
					t.Error(err)
				}
			}
			if left := objects(t, s); len(left) > 0 {
				t.Errorf("kept at %d: the objects %v are left", at, left)
			}
		}
	}
	kept := blobs.Kept{ID: uuid.New(), Size: 1000}
	if _, err := p.open(t).Resume(ctx, kept.ID, 2000, kept); err == nil {
		t.Error("an object goes on beyond its end")
	}
}

func testGivenUp(t *testing.T, p place) {
	ctx, s := t.Context(), p.open(t)
	for _, size := range []int{10, p.part + 10, 3 * p.part} {
		id := uuid.New()
		w, err := s.Create(ctx, id, int64(size)+1)
		if err == nil {
			err = errors.Join(fill(w, text(size)), w.Abort(ctx))
		}
		if err != nil {
			t.Error(err)
		}
		if _, err := read(ctx, s, id, size, 0, size); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("an object of %d bytes that was given up: %v", size, err)
		}
	}
	// A process ends without ending its writer.
	id := uuid.New()
	w, err := s.Create(ctx, id, -1)
	if err == nil {
		err = fill(w, text(5*p.part))
	}
	if err := errors.Join(err, p.open(t).Discard(ctx, id)); err != nil {
		t.Error(err)
	}
	if left := objects(t, s); len(left) > 0 {
		t.Errorf("the objects %v are left", left)
	}
	if err := w.Leave(ctx); err != nil {
		t.Error(err)
	}
}

func testListing(t *testing.T, p place) {
	ctx, s := t.Context(), p.open(t)
	var want []blobs.ID
	for range 20 {
		id := uuid.New()
		if err := write(ctx, s, id, 3, []byte("abc")); err != nil {
			t.Fatal(err)
		}
		want = append(want, id)
	}
	got := objects(t, s)
	order := func(a, b blobs.ID) int { return bytes.Compare(a[:], b[:]) }
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if !slices.Equal(got, want) {
		t.Errorf("the objects are %v, want %v", got, want)
	}
	for range s.List(ctx) {
		break
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	n := 0
	for _, err := range s.List(ended) {
		if n++; err == nil {
			t.Error("a listing goes on after the end of its context")
		}
	}
	if n != 1 {
		t.Errorf("the end of the context is told %d times", n)
	}
}

func testClaim(t *testing.T, p place) {
	ctx, s := t.Context(), p.open(t)
	mine, other := uuid.New(), uuid.New()
	if err := blobs.Recognize(ctx, s, mine); !errors.Is(err, blobs.ErrEmpty) || len(objects(t, s)) != 0 {
		t.Errorf("an empty place is taken for that of a tree: error %v, objects %v", err, objects(t, s))
	}
	for _, claim := range []func(context.Context, blobs.Store, blobs.ID) error{blobs.Claim, blobs.Claim, blobs.Recognize} {
		if err := claim(ctx, p.open(t), mine); err != nil {
			t.Fatal(err)
		}
	}
	if got := objects(t, s); len(got) != 1 || got[0] != mine {
		t.Errorf("the objects are %v, want %v", got, mine)
	}
	for _, claim := range []func(context.Context, blobs.Store, blobs.ID) error{blobs.Claim, blobs.Recognize} {
		if err := claim(ctx, s, other); err == nil || !strings.Contains(err.Error(), "belongs to another database") {
			t.Errorf("the claim of another tree: %v", err)
		}
	}
	if err := errors.Join(s.Delete(ctx, mine), write(ctx, s, mine, -1, []byte("something else"))); err != nil {
		t.Fatal(err)
	}
	if err := blobs.Claim(ctx, s, mine); err == nil || !strings.Contains(err.Error(), "other bytes") {
		t.Errorf("a claim with other bytes: %v", err)
	}
}
