package pgstore

import (
	"context"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// dates are the dates of a name, in seconds since 1970. Readers write nothing, so each date that a version has had counts as
// sent, in the future or not.
type dates struct {
	modified  int64     // of the version
	since     int64     // the second in which the content came to the name
	tree.Sent           // for other versions of the name
	own       tree.Sent // for this version before it had its date
	// below, of a collection or of a name where one was, bounds Earlier of all names below: then another collection was
	// there, whose members are not known.
	below int64
	floor tree.Sent // the latest below of the collections above, and the dates in the future that go with it
}

func noDates() dates {
	return dates{since: tree.Never, below: tree.Never, Sent: tree.NoneSent, own: tree.NoneSent, floor: tree.NoneSent}
}

// others returns the dates of all versions of a name but a new one that replaces the version, if there is one.
func (d dates) others(isFile bool, now int64) tree.Sent {
	if !isFile {
		return d.Join(d.floor)
	}
	return d.Join(d.floor).Join(d.own).With(d.modified, d.isAhead(now))
}

// isAhead reports whether the date was in the future when it was set, and still is. The clock may have stepped back
// since then.
func (d dates) isAhead(now int64) bool { return d.modified > max(d.since, now) }

// set gives the version another date.
func (d *dates) set(t time.Time, now int64) {
	d.own = d.own.With(d.modified, d.isAhead(now))
	d.modified = t.Unix()
}

// proof returns the dates that identify the version.
func (d dates) proof() tree.DateRange { return d.Join(d.floor).Range(d.modified, d.since) }

// leaving returns the dates of a name that its version leaves at a second. A new collection may be written to within
// that second, and its members then have a date of the next one.
func (d dates) leaving(isFile bool, now int64) dates {
	left := noDates()
	left.Sent = d.others(isFile, now)
	if left.below = d.below; !isFile {
		left.below = max(left.below, now+1)
	}
	return left
}

// orNull returns the value of a column.
func orNull(second int64) *int64 {
	if second == tree.Never {
		return nil
	}
	return &second
}

func orNever(second *int64) int64 {
	if second == nil {
		return tree.Never
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

// clock returns the time of a clock that is passed in, or nil.
func (s *Store) clock() *time.Time {
	if s.opts.Now == nil {
		return nil
	}
	t := s.opts.Now()
	return &t
}

// Time returns the time of the database, or of the clock that is passed in, and asks neither. All replicas have the same
// time but for what an answer of the database takes: the times that they share go by it.
func (s *Store) Time() time.Time {
	if t := s.clock(); t != nil {
		return *t
	}
	return s.shared.Now()
}

// LookAtClock asks the database for its time, so that [Store.Time] stays right. It returns by how much the clock of this
// machine is ahead of it.
func (s *Store) LookAtClock(ctx context.Context) (ahead time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = s.shared.Look(func() (now time.Time, err error) {
		err = s.notes.QueryRow(ctx, "select clock_timestamp()").Scan(&now)
		return now, err
	})
	return s.shared.Ahead(), translate(err)
}

// saw notes a time of the database.
func (s *Store) saw(at int64) {
	for seen := s.seen.Load(); at > seen && !s.seen.CompareAndSwap(seen, at); seen = s.seen.Load() {
	}
}

// now returns the time of the database.
func (s *Store) now(ctx context.Context) (now time.Time, err error) {
	err = s.readRow(ctx, "select coalesce($1, clock_timestamp())", []any{s.clock()}, &now)
	return now, translate(err)
}
