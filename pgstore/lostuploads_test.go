package pgstore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/internal/s3test"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestUploadEndsWithTheBytesThatWereKept: no other try finds them, so the client is told to begin another upload, and not
// to try again.
func TestUploadEndsWithTheBytesThatWereKept(t *testing.T) {
	for _, test := range []struct {
		name, lost string // a column of the row
		taken      bool   // an earlier handle may be at work
		s3         bool
	}{
		{"the file in a directory", "blob", false, false},
		{"the file in a directory, of another handle", "blob", true, false},
		{"the upload in S3", "blob", false, true},
		{"the last bytes in S3", "tail", false, true},
		{"the last bytes in S3, of another handle", "tail", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, dsn := t.Context(), pgtest.Shared(t).Database(t, clean)
			var place blobs.Store
			if test.s3 {
				place = s3Place(t, s3Options(s3test.New(t).URL))
			} else if dir, err := blobs.NewDir(t.TempDir()); err != nil {
				t.Fatal(err)
			} else {
				place = dir
			}
			var reported []error
			s, err := pgstore.Open(ctx, dsn, pgstore.Options{Blobs: place, Report: func(err error) { reported = append(reported, err) }})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			half := blobs.Step + 1000
			opts := tree.UploadOptions{Length: int64(len(largeContent)), Expires: time.Now().Add(time.Hour)}
			u, err := s.NewUpload(ctx, "f", opts, tree.Condition{})
			if err == nil {
				err = errors.Join(u.Append(ctx, strings.NewReader(largeContent[:half]), tree.AppendOptions{}), u.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			id := u.State().ID
			conn, err := pgx.Connect(ctx, dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(ctx)
			var lost uuid.UUID
			if err := conn.QueryRow(ctx, "select "+test.lost+" from ifmatch.upload").Scan(&lost); err != nil {
				t.Fatal(err)
			}
			if test.taken {
				if _, err := conn.Exec(ctx, "update ifmatch.upload set held_until = now()"); err != nil {
					t.Fatal(err)
				}
			}
			if err := place.Discard(ctx, lost); err != nil {
				t.Fatal(err)
			}
			if u, err = s.OpenUpload(ctx, id); err != nil {
				t.Fatal(err)
			}
			err = u.Append(ctx, strings.NewReader(largeContent[half:]), tree.AppendOptions{})
			if !errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrBusy) || errors.Is(err, tree.ErrUnavailable) {
				t.Errorf("the upload fails with %v", err)
			}
			if err := u.Close(); err != nil {
				t.Error(err)
			}
			if _, err := s.OpenUpload(ctx, id); !errors.Is(err, tree.ErrNotExist) {
				t.Errorf("it is there still: error %v", err)
			}
			if len(reported) != 1 {
				t.Errorf("what is reported: %v", reported)
			}
		})
	}
}
