package restored

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"ifmatch/tree"
)

// A Summary sums up versions.
type Summary struct {
	count       int
	bytes       int64 // of files
	first, last time.Time
	causes      map[string]int
}

// Add adds a version.
func (s *Summary) Add(v tree.Version) {
	if s.causes == nil {
		s.causes = map[string]int{}
		s.first, s.last = v.Gone, v.Gone
	}
	if v.Gone.Before(s.first) {
		s.first = v.Gone
	}
	if v.Gone.After(s.last) {
		s.last = v.Gone
	}
	s.count++
	s.bytes += v.Size
	s.causes[v.Cause]++
}

// String returns the summary in one line: "3 versions, 1.2 MB in files: 2 by DELETE, 1 by PUT, from … to …".
func (s Summary) String() string {
	switch s.count {
	case 0:
		return "no versions"
	case 1:
		cause := slices.Collect(maps.Keys(s.causes))[0]
		return fmt.Sprintf("1 version, %s in files, by %s", humanize.Bytes(uint64(s.bytes)), cause)
	}
	var by []string
	for _, cause := range slices.Sorted(maps.Keys(s.causes)) {
		by = append(by, fmt.Sprintf("%d by %s", s.causes[cause], cause))
	}
	return fmt.Sprintf("%d versions, %s in files: %s, from %s to %s", s.count, humanize.Bytes(uint64(s.bytes)),
		strings.Join(by, ", "), s.first.Format(time.RFC3339), s.last.Format(time.RFC3339))
}
