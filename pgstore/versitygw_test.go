//go:build versitygw

package pgstore_test

import (
	"testing"

	"github.com/google/uuid"

	"r-seed-1f3a754f.example/ifmatch/internal/s3test"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// TestConformanceOverVersitygw is the conformance suite with objects in an S3 server for use. Each store has a prefix of its
// own.
func TestConformanceOverVersitygw(t *testing.T) {
	gateway := s3test.Gateway(t)
	place := func(t *testing.T) blobs.Store {
		opts := s3Options(gateway)
		opts.Prefix, opts.Part = uuid.NewString(), 5<<20
		return s3Place(t, opts)
	}
	t.Run("one replica, small contents in the database", func(t *testing.T) { treetest.Run(t, backend(1, 0, place)) })
	t.Run("three replicas, all contents in S3", func(t *testing.T) { treetest.Run(t, backend(3, -1, place)) })
}
