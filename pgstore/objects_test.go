package pgstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/internal/s3test"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

func init() { minio.DefaultRetryUnit = time.Millisecond } // a wait before each try would be most of the tests

func s3Options(url string) blobs.S3Options {
	return blobs.S3Options{Bucket: s3test.Bucket, Endpoint: url, Part: blobs.Step,
		Credentials: credentials.NewStaticV4(s3test.Access, s3test.Secret, "")}
}

func s3Place(t *testing.T, opts blobs.S3Options) blobs.Store {
	s, err := blobs.NewS3(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An s3Tree is a tree with all contents in S3, at three replicas. The clock is passed in.
type s3Tree struct {
	t       *testing.T
	server  *s3test.Server
	fault   s3test.Fate
	patient *pgstore.Store // for what is done while S3 works
	a, b    *pgstore.Store
	passed  atomic.Int64
	damage  []error // that was reported
}

func newS3Tree(t *testing.T, fault s3test.Fate) *s3Tree {
	f := &s3Tree{t: t, server: s3test.New(t), fault: fault}
	dsn := pgtest.Shared(t).Database(t, clean)
	begun := time.Now()
	opts := s3Options(f.server.URL)
	for i, s := range []**pgstore.Store{&f.patient, &f.a, &f.b} {
		if opts.Tries = 1; i > 0 && fault == s3test.Hung {
			opts.Patience, opts.Rate = 100*time.Millisecond, 1<<30
		}
		var err error
		*s, err = pgstore.Open(t.Context(), dsn, pgstore.Options{
			Blobs: s3Place(t, opts), Inline: -1, NoHistory: true, MaxConns: 4, NoMigrate: i > 0,
			Now:    func() time.Time { return begun.Add(time.Duration(f.passed.Load())) },
			Report: func(err error) { f.damage = append(f.damage, err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*s).Close() })
	}
	return f
}

// read reads a file whole, as a GET does.
func (f *s3Tree) read(s *pgstore.Store, name string) ([]byte, error) {
	c, state, err := s.Open(f.t.Context(), name, tree.ReadOptions{}, tree.Condition{})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var got bytes.Buffer
	n, err := c.WriteRange(f.t.Context(), &got, 0, state.Size)
	if n != int64(got.Len()) || err == nil && n != state.Size {
		f.t.Errorf("%d of %d bytes are said to be %d, error %v", got.Len(), state.Size, n, err)
	}
	return got.Bytes(), err
}

func (f *s3Tree) put(s *pgstore.Store, name, content string) error {
	_, _, err := s.Put(f.t.Context(), name, strings.NewReader(content), tree.PutOptions{Length: -1}, tree.Condition{})
	return err
}

// upload sends a content in two requests, to one replica and then the other.
func (f *s3Tree) upload(name, content string) error {
	ctx := f.t.Context()
	opts := tree.UploadOptions{Length: int64(len(content)), Expires: f.now().Add(time.Hour)}
	u, err := f.a.NewUpload(ctx, name, opts, tree.Condition{})
	if err != nil {
		return err
	}
	id, half := u.State().ID, blobs.Step+1000
	err = errors.Join(u.Append(ctx, strings.NewReader(content[:half]), tree.AppendOptions{}), u.Close())
	if err != nil {
		return err
	}
	if u, err = f.b.OpenUpload(ctx, id); err != nil {
		return err
	}
	defer u.Close()
	if offset := u.State().Offset; offset != int64(half) {
		return fmt.Errorf("%d bytes are kept, and %d were sent", offset, half)
	}
	if err := u.Append(ctx, strings.NewReader(content[half:]), tree.AppendOptions{}); err != nil {
		return err
	}
	_, _, err = u.Put(ctx, name, tree.PutOptions{}, tree.Condition{})
	return err
}

func (f *s3Tree) now() time.Time { return time.Now().Add(time.Duration(f.passed.Load())) }

// contents of the tests. The old one and the new one have no part in common.
var (
	oldContent   = strings.Repeat("old content ", 20_000)
	newContent   = strings.Repeat("new content. ", 20_000)
	largeContent = strings.Repeat("large content\n", 220_000) // of some parts
)

// TestS3Faults: S3 fails in each way at each request of each method. A write that has failed leaves the old version, one
// that has not leaves the new one, and no read yields another.
func TestS3Faults(t *testing.T) {
	for _, op := range []struct {
		name string
		new  string
		do   func(*s3Tree) error
	}{
		{"PUT", newContent, func(f *s3Tree) error { return f.put(f.a, "f", newContent) }},
		{"PUT in parts", largeContent, func(f *s3Tree) error { return f.put(f.a, "f", largeContent) }},
		{"upload", largeContent, func(f *s3Tree) error { return f.upload("f", largeContent) }},
		{"DELETE", "", func(f *s3Tree) error { return f.a.Remove(f.t.Context(), "f", tree.Condition{}) }},
		{"GET", oldContent, func(f *s3Tree) error {
			got, err := f.read(f.b, "f")
			if err == nil && string(got) != oldContent {
				f.t.Errorf("%d other bytes are read without an error", len(got))
			}
			if len(got) == len(oldContent) && err != nil {
				f.t.Errorf("all bytes are sent, and then: %v", err)
			}
			return err
		}},
	} {
		for _, fault := range s3test.Faults {
			t.Run(op.name+" "+fault.String(), func(t *testing.T) {
				f := newS3Tree(t, fault)
				for n := 0; ; n++ {
					if err := f.put(f.patient, "f", oldContent); err != nil {
						t.Fatal(err)
					}
					f.server.Fail(s3test.Nth(n, fault))
					err := op.do(f)
					asked := len(f.server.Asked())
					f.server.Fail(nil)
					f.check(n, err, op.new)
					if asked <= n {
						break
					}
				}
				f.collect()
			})
		}
	}
}

// check looks at the file after a method whose n-th request has failed.
func (f *s3Tree) check(n int, err error, want string) {
	f.t.Helper()
	got, failed := f.read(f.patient, "f")
	lied := f.fault == s3test.Lied || f.fault == s3test.Halved
	switch {
	case err == nil && failed != nil && lied && len(f.damage) > 0 && len(got) < len(want):
		f.damage = nil // it was told that all is well, and the damage is seen
	case err == nil && want == "" && errors.Is(failed, tree.ErrNotExist):
	case err == nil && (failed != nil || string(got) != want):
		f.t.Errorf("request %d: the method has happened, and %d bytes are read, error %v", n, len(got), failed)
	case err != nil && (failed != nil || string(got) != oldContent):
		f.t.Errorf("request %d: %v; then %d bytes are read, error %v", n, err, len(got), failed)
	}
}

// collect waits for the janitor, days later. Only the mark of the tree and the object of the file are left.
func (f *s3Tree) collect() {
	f.t.Helper()
	if err := f.put(f.patient, "f", "the last content"); err != nil {
		f.t.Fatal(err)
	}
	for range 3 {
		f.passed.Add(int64(50 * time.Hour))
		if err := f.patient.Clean(context.Background()); err != nil {
			f.t.Error(err)
		}
	}
	keys, unfinished := f.server.Objects()
	if f.fault == s3test.Lied && unfinished == 0 { // what S3 says to have deleted, nobody looks for
		return
	}
	if len(keys) != 2 || unfinished != 0 {
		f.t.Errorf("the objects %q and %d unfinished uploads are left, want two objects", keys, unfinished)
	}
	if got, err := f.read(f.patient, "f"); string(got) != "the last content" {
		f.t.Errorf("the file has %q, error %v", got, err)
	}
}

// TestJanitorBesideS3Faults: what S3 does not delete is deleted the next time, and holds up nothing else.
func TestJanitorBesideS3Faults(t *testing.T) {
	f := newS3Tree(t, s3test.Refused)
	first, _ := f.server.Objects() // one is the mark of the tree, which stays
	for i := range 20 {
		if err := f.put(f.patient, fmt.Sprint("f", i), oldContent); err != nil {
			t.Fatal(err)
		}
		if err := f.a.Remove(t.Context(), fmt.Sprint("f", i), tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	f.passed.Add(int64(50 * time.Hour))
	keys, _ := f.server.Objects()
	stubborn := keys[slices.IndexFunc(keys, func(key string) bool { return !slices.Contains(first, key) })]
	f.server.Fail(func(_ int, r *http.Request) s3test.Fate {
		if r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, stubborn) {
			return s3test.Refused
		}
		return s3test.Answered
	})
	err := f.a.Clean(t.Context())
	if keys, _ = f.server.Objects(); err == nil || len(keys) != 2 || !slices.Contains(keys, stubborn) {
		t.Errorf("the objects %q are left, error %v", keys, err)
	}
	f.server.Fail(nil)
	f.passed.Add(int64(2 * time.Hour))
	err = f.a.Clean(t.Context())
	if keys, _ = f.server.Objects(); err != nil || len(keys) != 1 {
		t.Errorf("the objects %q are left, error %v", keys, err)
	}
}

// TestDamagedObjects: what was changed in S3 is never read as the file. A part of it may be.
func TestDamagedObjects(t *testing.T) {
	f := newS3Tree(t, s3test.Answered)
	for name, change := range map[string]func([]byte) []byte{
		"gone":        func([]byte) []byte { return nil },
		"cut":         func(b []byte) []byte { return b[:len(b)-1] },
		"longer":      func(b []byte) []byte { return append(b, 'x') },
		"empty":       func([]byte) []byte { return []byte{} },
		"other first": func(b []byte) []byte { b[0] ^= 1; return b },
		"other last":  func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	} {
		t.Run(name, func(t *testing.T) {
			before, _ := f.server.Objects()
			if err := f.put(f.patient, "f", name+oldContent); err != nil {
				t.Fatal(err)
			}
			after, _ := f.server.Objects()
			made := slices.DeleteFunc(after, func(key string) bool { return slices.Contains(before, key) })
			if len(made) != 1 {
				t.Fatalf("the objects %q are made", made)
			}
			f.server.Change(made[0], change)
			f.damage = nil
			got, err := f.read(f.patient, "f")
			if !errors.Is(err, tree.ErrFailed) || errors.Is(err, tree.ErrNotExist) || len(got) > len(oldContent)-(60<<10) {
				t.Errorf("%d bytes are read, error %v", len(got), err)
			}
			if len(f.damage) != 1 || !strings.Contains(f.damage[0].Error(), `the content of "f" is damaged`) {
				t.Errorf("%q is reported", f.damage)
			}
		})
	}
}

// TestDamagedSmallContents: what was changed in the database is never read as the file, and neither is a part of it.
func TestDamagedSmallContents(t *testing.T) {
	dsn, damage := pgtest.Shared(t).Database(t, clean), 0
	s, err := pgstore.Open(t.Context(), dsn, pgstore.Options{Report: func(error) { damage++ }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for i, change := range []string{
		"delete from ifmatch.content", "update ifmatch.content set data = ''", "update ifmatch.content set data = data || 'x'::bytea",
		"update ifmatch.content set data = set_byte(data, 0, get_byte(data, 0) # 1)",
	} {
		name := fmt.Sprint("f", i)
		if err := put(t.Context(), s, name, "content", tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		_, _, err := s.Open(t.Context(), name, tree.ReadOptions{}, tree.Condition{})
		if !errors.Is(err, tree.ErrFailed) || errors.Is(err, tree.ErrNotExist) || damage != i+1 {
			t.Errorf("%s: error %v, %d are reported", change, err, damage)
		}
	}
}

// TestPlaceIsTheOneOfTheTree: a disk that is not mounted is not taken for a new place, and neither does a program that
// finds no tree take any.
func TestPlaceIsTheOneOfTheTree(t *testing.T) {
	dsn, dir := pgtest.Shared(t).Database(t, clean), t.TempDir()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "drop schema if exists ifmatch cascade"); err != nil {
		t.Fatal(err)
	}
	open := func(name string, opts pgstore.Options) error {
		place, err := blobs.NewDir(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		opts.Blobs = place
		s, err := pgstore.Open(t.Context(), dsn, opts)
		if err == nil {
			err = s.Close()
		}
		return err
	}
	for _, step := range []struct {
		name string
		opts pgstore.Options
		want string // of the error
	}{
		{"first", pgstore.Options{NoMigrate: true}, "ifmatch cluster init"},
		{"first", pgstore.Options{}, ""},
		{"first", pgstore.Options{NoMigrate: true}, ""},
		{"second", pgstore.Options{}, blobs.ErrEmpty.Error()},
		{"second", pgstore.Options{NoMigrate: true}, blobs.ErrEmpty.Error()},
		{"second", pgstore.Options{NewBlobs: true}, ""},
		{"second", pgstore.Options{}, ""},
	} {
		err := open(step.name, step.opts)
		if (err == nil) != (step.want == "") || err != nil && !strings.Contains(err.Error(), step.want) {
			t.Errorf("%s with %+v: error %v, want %q", step.name, step.opts, err, step.want)
		}
	}
}
