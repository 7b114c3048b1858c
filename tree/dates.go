package tree

import (
	"math"
	"slices"
	"time"
)

// Dates are the dates that identify the version of a [State].
type Dates interface {
	// Proves reports whether a date that a client sends identifies the version. It changes nothing. Unknown means
	// that the answer depends on the tag of the version, which is not known yet.
	Proves(date time.Time) Truth
}

// ProvenBy reports whether a date that a client sends identifies the version that is there. Every decision by date is
// made here.
//
// RFC 9110 §13.1.4 accepts any date that is not before the modification date. But two versions can have the same
// second, and a modification date can be set back: then a date that was sent with one version would identify the
// other. So the store decides by what it "reliably knows" of the version (§8.8.2.2). No date identifies a collection,
// because its date does not change with the content below it.
func (s State) ProvenBy(date time.Time) Truth {
	if s.Dates == nil {
		return False
	}
	return s.Dates.Proves(date)
}

// A DateRange is the rule by which a date identifies a version, as a value.
type DateRange struct {
	// LastModified is the date of the version, even if it is in the future. Zero: no date identifies the version.
	LastModified time.Time
	// Earlier is the latest date that may have been sent for another version of the name. Zero: none was sent.
	Earlier time.Time
	// Since is the second in which the version came to the name, or a later one. Zero: not known, and long ago.
	Since time.Time
	// Ahead are dates after Earlier that may have been sent for other versions of the name while these dates were in
	// the future.
	Ahead []Span
	// Unsure says that the tag of the version is not known, so that the other versions may have the same content.
	Unsure bool
}

// Proves implements [Dates]. Dates have whole seconds, so fractions are not compared.
//
// The date of the version itself identifies it if no other version may have been sent with that date. A client may
// also send a later date, from its own clock at the time of the download. That date must be later than the second in
// which the version came to the name.
func (r DateRange) Proves(date time.Time) Truth {
	d, own := date.Unix(), r.LastModified.Unix()
	if r.LastModified.IsZero() || d < own || d > own && d <= r.Since.Unix() {
		return False
	}
	if d <= r.Earlier.Unix() || d > own && AnyHas(r.Ahead, d) {
		if r.Unsure {
			return Unknown
		}
		return False
	}
	return True
}

// A Span is a range of seconds since 1970 that includes its first and its last second. See [NoTime].
type Span struct{ First, Last int64 }

// NoTime is the span without any second.
var NoTime = Span{math.MaxInt64, math.MinInt64}

// Has reports whether the span contains a second.
func (s Span) Has(second int64) bool { return s.First <= second && second <= s.Last }

// AnyHas reports whether one of the spans contains a second.
func AnyHas(spans []Span, second int64) bool {
	return slices.ContainsFunc(spans, func(s Span) bool { return s.Has(second) })
}

// Join returns the shortest span that contains both spans.
func (s Span) Join(other Span) Span { return Span{min(s.First, other.First), max(s.Last, other.Last)} }

// With returns the shortest span that contains this span and a second.
func (s Span) With(second int64) Span { return s.Join(Span{second, second}) }

// Never is a second before all others.
const Never = math.MinInt64

// Sent are the dates that may have been sent for some versions of a name, in seconds since 1970.
type Sent struct {
	Earlier int64 // the latest of those that were not in the future then, or [Never]
	Ahead   Span  // those that were in the future then
}

// NoneSent says that no date was sent.
var NoneSent = Sent{Never, NoTime}

// Join returns the dates of both.
func (s Sent) Join(other Sent) Sent {
	return Sent{max(s.Earlier, other.Earlier), s.Ahead.Join(other.Ahead)}
}

// With returns the dates with another one, which was in the future when it was sent, or was not.
func (s Sent) With(date int64, ahead bool) Sent {
	if ahead {
		return Sent{s.Earlier, s.Ahead.With(date)}
	}
	return Sent{max(s.Earlier, date), s.Ahead}
}

// Next returns the date of a new version: now, or a second later if another version can have been sent with that.
func (s Sent) Next(now int64) int64 {
	if now <= s.Earlier || s.Ahead.Has(now) {
		return now + 1
	}
	return now
}

// Bound returns the latest date that does not stand for a version with a date alone, if the dates are those of other
// versions.
func (s Sent) Bound(date int64) int64 {
	if s.Ahead.Has(date) {
		return max(s.Earlier, date)
	}
	return s.Earlier
}

// Range returns the dates that identify a version with a date, if the dates are those of other versions. since is the
// second in which it came to the name, or Never.
func (s Sent) Range(date, since int64) DateRange {
	return DateRange{LastModified: time.Unix(date, 0), Earlier: second(s.Bound(date)), Since: second(since),
		Ahead: []Span{s.Ahead}}
}

// second returns the time of a date. It is the zero time for Never.
func second(date int64) time.Time {
	if date == Never {
		return time.Time{}
	}
	return time.Unix(date, 0)
}
