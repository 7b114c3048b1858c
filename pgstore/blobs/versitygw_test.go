//go:build versitygw

package blobs_test

import (
	"testing"

	"github.com/google/uuid"

	"r-seed-1f3a754f.example/ifmatch/internal/s3test"
)

// TestVersitygw is the suite with an S3 server for use, and parts of the least size that S3 takes.
func TestVersitygw(t *testing.T) {
	gateway := s3test.Gateway(t)
	suite(t, func(*testing.T) place {
		opts := options(gateway)
		opts.Prefix, opts.Part = uuid.NewString(), 5<<20
		return s3Place(opts)
	})
}
