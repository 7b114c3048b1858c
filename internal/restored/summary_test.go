package restored

import (
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func TestSummary(t *testing.T) {
	at := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	version := func(cause string, size int64, after time.Duration) tree.Version {
		return tree.Version{State: tree.State{Size: size}, Cause: cause, Gone: at.Add(after)}
	}
	for _, test := range []struct {
		want string
		of   []tree.Version
	}{
		{"no versions", nil},
		{"1 version, 5 B in files, by PUT", []tree.Version{version("PUT", 5, 0)}},
		{"3 versions, 2.0 MB in files: 2 by DELETE, 1 by PUT, from 2026-11-25T10:00:00Z to 2026-11-25T12:00:00Z",
			[]tree.Version{version("DELETE", 1e6, time.Hour), version("PUT", 1e6, 0), version("DELETE", 0, 2*time.Hour)}},
	} {
		var s Summary
		for _, v := range test.of {
			s.Add(v, v.Size)
		}
		if got := s.String(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// TestSummaryOfCollections: bytes that are not known are not taken for none.
func TestSummaryOfCollections(t *testing.T) {
	s := Summary{Whole: 1}
	s.Add(tree.Version{Cause: "DELETE"}, 0)
	if got, want := s.String(), "1 version, 0 B in files, and what is in 1 collection, by DELETE"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSummaryOfAnotherPlace(t *testing.T) {
	s := Summary{Where: "on the disk"}
	s.Add(tree.Version{State: tree.State{Size: 5}, Cause: "MOVE"}, 4096)
	if got, want := s.String(), "1 version, 4.1 kB on the disk, by MOVE"; got != want || s.Count() != 1 {
		t.Errorf("got %q of %d, want %q", got, s.Count(), want)
	}
}
