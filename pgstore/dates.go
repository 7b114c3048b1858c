package pgstore

import (
	"math"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// never is a second before all others.
const never = math.MinInt64

// dates are the dates of a name, in seconds since 1970. Readers write nothing, so each date that a version has had
// counts as shown, in the future or not.
type dates struct {
	modified int64     // of the version
	since    int64     // the second in which the content came to the name
	earlier  int64     // the latest date of other versions of the name, which was not in the future then
	ahead    tree.Span // dates of other versions, which were in the future then
	shown    int64     // the latest former date of this version, which was not in the future then
	own      tree.Span // former dates of this version, which were in the future then
	// below, of a collection or of a name where one was, bounds earlier of all names below: then another collection was
	// there, whose members are not known.
	below int64
	// floor is the latest below of the collections above, and floorAhead has the dates ahead that go with it.
	floor      int64
	floorAhead tree.Span
}

func noDates() dates {
	return dates{since: never, earlier: never, shown: never, below: never, floor: never,
		ahead: tree.NoTime, own: tree.NoTime, floorAhead: tree.NoTime}
}

// others returns the dates of all versions of a name but a new one that replaces the version, if there is one.
func (d dates) others(isFile bool, now int64) (earlier int64, ahead tree.Span) {
	earlier, ahead = max(d.earlier, d.floor), d.ahead.Join(d.floorAhead)
	if !isFile {
		return earlier, ahead
	}
	if earlier, ahead = max(earlier, d.shown), ahead.Join(d.own); d.isAhead(now) {
		return earlier, ahead.With(d.modified)
	}
	return max(earlier, d.modified), ahead
}

// isAhead reports whether the date was in the future when it was set, and still is. The clock may have stepped back
// since then.
func (d dates) isAhead(now int64) bool { return d.modified > max(d.since, now) }

// next returns the date of a new version: now, or a second later if another version can have been shown with that.
func next(earlier int64, ahead tree.Span, now int64) int64 {
	if now <= earlier || ahead.Has(now) {
		return now + 1
	}
	return now
}

// set gives the version another date.
func (d *dates) set(t time.Time, now int64) {
	if d.isAhead(now) {
		d.own = d.own.With(d.modified)
	} else {
		d.shown = max(d.shown, d.modified)
	}
	d.modified = t.Unix()
}

// proof returns the dates that identify the version.
func (d dates) proof() tree.DateRange {
	earlier, ahead := max(d.earlier, d.floor), d.ahead.Join(d.floorAhead)
	if ahead.Has(d.modified) {
		earlier = max(earlier, d.modified)
	}
	r := tree.DateRange{LastModified: time.Unix(d.modified, 0), Ahead: []tree.Span{ahead}}
	if earlier != never {
		r.Earlier = time.Unix(earlier, 0)
	}
	if d.since != never {
		r.Since = time.Unix(d.since, 0)
	}
	return r
}

// leaving returns the dates of a name that its version leaves at a second. A new collection may be written to within
// that second, and its members then have a date of the next one.
func (d dates) leaving(isFile bool, now int64) dates {
	left := noDates()
	left.earlier, left.ahead = d.others(isFile, now)
	if left.below = d.below; !isFile {
		left.below = max(left.below, now+1)
	}
	return left
}

// orNull returns the value of a column.
func orNull(second int64) *int64 {
	if second == never {
		return nil
	}
	return &second
}

func orNever(second *int64) int64 {
	if second == nil {
		return never
	}
	return *second
}

// columns returns the values of the columns of a span.
func columns(s tree.Span) (first, last *int64) {
	if s.First > s.Last {
		return nil, nil
	}
	return &s.First, &s.Last
}

func spanOf(first, last *int64) tree.Span {
	if first == nil || last == nil {
		return tree.NoTime
	}
	return tree.Span{First: *first, Last: *last}
}
