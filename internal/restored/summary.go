package restored

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Summary sums up versions.
type Summary struct {
	Where       string // the place of the bytes ("": "in files"), such as "on the disk"
	Whole       int    // collections among them of which the bytes are not known
	count       int
	bytes       int64
	first, last time.Time
	causes      map[string]int
}

// Add adds a version that takes some bytes.
func (s *Summary) Add(v tree.Version, bytes int64) {
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
	s.bytes += bytes
	s.causes[v.Cause]++
}

// Count returns how many versions there are.
func (s Summary) Count() int { return s.count }

// String returns the summary in one line: "3 versions, 1.2 MB in files: 2 by DELETE, 1 by PUT, from … to …".
func (s Summary) String() string {
	where := cmp.Or(s.Where, "in files")
	switch {
	case s.Whole == 1:
		where += ", and what is in 1 collection"
	case s.Whole > 1:
		where += fmt.Sprintf(", and what is in %d collections", s.Whole)
	}
	switch s.count {
	case 0:
		return "no versions"
	case 1:
		cause := slices.Collect(maps.Keys(s.causes))[0]
		return fmt.Sprintf("1 version, %s %s, by %s", humanize.Bytes(uint64(s.bytes)), where, cause)
	}
	var by []string
	for _, cause := range slices.Sorted(maps.Keys(s.causes)) {
		by = append(by, fmt.Sprintf("%d by %s", s.causes[cause], cause))
	}
	return fmt.Sprintf("%d versions, %s %s: %s, from %s to %s", s.count, humanize.Bytes(uint64(s.bytes)), where,
		strings.Join(by, ", "), s.first.Format(time.RFC3339), s.last.Format(time.RFC3339))
}
