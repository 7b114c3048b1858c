package memtree

import (
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// shown is a date that was sent for a version.
type shown struct {
	tag   tree.ETag
	date  int64 // in seconds since 1970
	ahead bool  // the date was in the future then
}

// show notes that a date was sent for a state.
func (s *Store) show(state tree.State, date time.Time) {
	one := shown{state.Tag, date.Unix(), date.After(s.opts.Now())}
	known := s.shown[state.Name]
	if state.Exists && !state.Collection && !date.IsZero() && !slices.Contains(known, one) {
		s.shown[state.Name] = append(known, one)
	}
}

// others returns the latest date that was sent for another version of a name (zero: none), and the dates that were in the
// future when they were sent.
func (s *Store) others(name string, tag tree.ETag) (earlier time.Time, ahead tree.Span) {
	ahead = tree.NoTime
	for _, one := range s.shown[name] {
		date := time.Unix(one.date, 0)
		switch {
		case one.tag == tag:
		case one.ahead:
			ahead = ahead.With(one.date)
		case earlier.IsZero() || date.After(earlier):
			earlier = date
		}
	}
	return earlier, ahead
}

// dates returns the dates that identify the version at a name. The version came there when it, or an ancestor, got its name.
func (s *Store) dates(name string, n *node) tree.DateRange {
	earlier, ahead := s.others(name, n.tag)
	if ahead.Has(n.modified.Unix()) && (earlier.IsZero() || earlier.Before(n.modified)) {
		earlier = n.modified
	}
	came := n.came
	for name != "" {
		name, _ = tree.Split(name)
		if dir := s.find(name); dir.came.After(came) {
			came = dir.came
		}
	}
	return tree.DateRange{LastModified: n.modified, Earlier: earlier, Since: seconds(came), Ahead: []tree.Span{ahead}}
}

// next returns the modification time of new content of a name: now, or up to a second later if that was sent for another
// version.
func (s *Store) next(name string, tag tree.ETag) time.Time {
	now := seconds(s.opts.Now())
	if earlier, ahead := s.others(name, tag); !now.After(earlier) || ahead.Has(now.Unix()) {
		now = now.Add(time.Second)
	}
	return now
}
