package memtree

import (
	"time"

	"ifmatch/tree"
)

// shown is a date with which a content was shown.
type shown struct {
	tag   tree.ETag
	date  int64 // in seconds since 1970
	ahead bool  // it had not come then
}

// show notes a date with which a state is shown. mu must be held.
func (s *Store) show(state tree.State, date time.Time) {
	if !state.Exists || state.Collection || date.IsZero() {
		return
	}
	one := shown{state.Tag, date.Unix(), date.After(s.opts.Now())}
	for _, known := range s.shown[state.Name] {
		if known == one {
			return
		}
	}
	s.shown[state.Name] = append(s.shown[state.Name], one)
}

// others returns the latest date with which another content of a name was shown, 0 for none, and those that had not come.
// mu must be held.
func (s *Store) others(name string, tag tree.ETag) (earlier int64, any bool, ahead tree.Span) {
	ahead = tree.NoTime
	for _, one := range s.shown[name] {
		switch {
		case one.tag == tag:
		case one.ahead:
			ahead = ahead.With(one.date)
		default:
			if !any || one.date > earlier {
				earlier, any = one.date, true
			}
		}
	}
	return earlier, any, ahead
}

// dates returns which dates prove what is at a name. mu must be held.
func (s *Store) dates(name string, n *node, came int64) tree.DateRange {
	earlier, any, ahead := s.others(name, n.tag)
	own := n.modified.Unix()
	if ahead.Has(own) && (!any || earlier < own) {
		earlier, any = own, true
	}
	dates := tree.DateRange{LastModified: n.modified, Since: time.Unix(came, 0), Ahead: []tree.Span{ahead}}
	if any {
		dates.Earlier = time.Unix(earlier, 0)
	}
	return dates
}

// next returns the modification time for new content of a name: now, or up to a second later if other content was shown with
// that. mu must be held.
func (s *Store) next(name string, tag tree.ETag) time.Time {
	now := s.opts.Now().Unix()
	earlier, any, ahead := s.others(name, tag)
	if any && now <= earlier || ahead.Has(now) {
		now++
	}
	return time.Unix(now, 0)
}
