package locktable

import (
	"iter"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/fs"
)

// ShortSegments yields, for each segment of a name that may be a short name, the number of segments before it.
func ShortSegments(name string) iter.Seq[int] {
	return func(yield func(int) bool) {
		if !strings.Contains(name, "~") {
			return
		}
		at := 0
		for segment := range strings.SplitSeq(name, "/") {
			if fs.IsShortened(segment) && !yield(at) {
				return
			}
			at++
		}
	}
}

// SegmentsOf returns the number of segments of a name.
func SegmentsOf(name string) int {
	if name == "" {
		return 0
	}
	return strings.Count(name, "/") + 1
}

// FirstSegments returns the first n segments of a name, or the whole name if it has no more.
func FirstSegments(name string, n int) string {
	if n == 0 {
		return ""
	}
	for i := range len(name) {
		if name[i] == '/' {
			if n--; n == 0 {
				return name[:i]
			}
		}
	}
	return name
}
