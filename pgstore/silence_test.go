package pgstore_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// quietReads are calls that change nothing but who holds an upload.
var quietReads = []struct {
	name string
	do   func(ctx context.Context, r *faultRig, s *pgstore.Store) error
}{
	{"PROPFIND", func(ctx context.Context, _ *faultRig, s *pgstore.Store) error {
		_, err := s.Stat(ctx, "locked", tree.ReadOptions{Want: tree.WantTag | tree.WantLocks | tree.WantProperties})
		return err
	}},
	{"GET", func(ctx context.Context, _ *faultRig, s *pgstore.Store) error {
		content, _, err := s.Open(ctx, "old", tree.ReadOptions{}, tree.Condition{})
		if err == nil {
			_, err = content.WriteRange(ctx, io.Discard, 0, 1)
		}
		return err
	}},
	{"sums", func(ctx context.Context, r *faultRig, s *pgstore.Store) error {
		if _, err := r.conn.Exec(ctx, "delete from ifmatch.note where kind = 'sums'"); err != nil {
			return err
		}
		_, err := s.Stat(ctx, "old", tree.ReadOptions{Want: tree.WantSums})
		return err
	}},
	{"listing", func(ctx context.Context, _ *faultRig, s *pgstore.Store) error {
		for _, err := range s.List(ctx, "", tree.ListOptions{Depth: -1, Want: tree.WantProperties}, tree.Condition{}) {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"history", func(ctx context.Context, _ *faultRig, s *pgstore.Store) error {
		for v, err := range s.Versions(ctx, "gone", tree.VersionOptions{}) {
			if err != nil {
				return err
			}
			for _, err := range s.Versions(ctx, "", tree.VersionOptions{Inside: v.ID}) {
				if err != nil {
					return err
				}
			}
		}
		return nil
	}},
	{"changes", func(ctx context.Context, _ *faultRig, s *pgstore.Store) error {
		now, err := s.Now(ctx)
		for _, failed := range s.Changes(ctx, "", now) {
			err = errors.Join(err, failed)
		}
		return err
	}},
	{"latest change", func(ctx context.Context, _ *faultRig, s *pgstore.Store) error {
		_, err := s.Latest(ctx, "old")
		return err
	}},
	{"spelling", func(ctx context.Context, _ *faultRig, s *pgstore.Store) error {
		_, err := s.Spelled(ctx, "\u00e9/\u00e9")
		return err
	}},
	{"condition about changes", func(ctx context.Context, r *faultRig, s *pgstore.Store) error {
		now, err := r.direct.Now(ctx)
		if err != nil {
			return err
		}
		return s.Try(ctx, treetest.If(func(v tree.View) error {
			_, err := v.(tree.FeedView).Since("tree", now, nil)
			return err
		}, "tree"))
	}},
	{"upload that another request holds", func(ctx context.Context, r *faultRig, s *pgstore.Store) error {
		held, err := r.direct.NewUpload(ctx, "new", tree.UploadOptions{Length: 1, Expires: time.Now().Add(time.Hour)}, tree.Condition{})
		if err != nil {
			return err
		}
		defer held.Close()
		_, err = s.OpenUpload(ctx, held.State().ID)
		return err
	}},
}

// TestNoReadWaitsForever: whichever message of a read the database does not answer, the read ends with an error.
func TestNoReadWaitsForever(t *testing.T) {
	for _, read := range quietReads {
		t.Run(read.name, func(t *testing.T) {
			t.Parallel() // they wait, and compute nothing
			patience := 200 * time.Millisecond
			r := newFaultRig(t, patience)
			r.lay()
			for n, met := 0, true; met; n++ {
				fates := make([]fate, n+1) // of which all but the last are answered
				fates[n] = swallowed
				r.proxy.next(fates...)
				err := read.do(t.Context(), r, r.through) // if it waits, so does the test
				met = r.proxy.hasMet()
				r.proxy.next()
				switch {
				case err == nil || errors.Is(err, tree.ErrBusy) || met && errors.Is(err, tree.ErrUnavailable):
				case errors.Is(err, tree.ErrUnavailable) && patience < time.Hour:
					// A slow machine has used up the patience that is set for messages which never come.
					patience *= 2
					r.through = r.openThrough(patience)
					n, met = n-1, true
				default:
					t.Errorf("message %d is not answered: %v; error %v", n, met, err)
				}
			}
		})
	}
}
