package tree

import (
	"math"
	"time"
)

// Dates tell which dates stand for the version that a [State] is of.
type Dates interface {
	// Proves reports whether a date that a client sends stands for the version. It changes nothing. Unknown says that the
	// tag of the version decides, and is not known yet.
	Proves(date time.Time) Truth
}

// ProvenBy reports whether a date that a client sends stands for the version that is there. Every decision by date is made
// here.
//
// RFC 9110 §13.1.4 accepts any date that is not before the modification date. But two versions can be of one second, and a
// modification date can be set back: then the date that was shown with one version would stand for the other. So the store
// says what it "reliably knows" of the version (§8.8.2.2). No date stands for a collection, since it does not change with
// what is below.
func (s State) ProvenBy(date time.Time) Truth {
	if s.Dates == nil {
		return False
	}
	return s.Dates.Proves(date)
}

// A DateRange is the one rule by which a date stands for a version, as a value.
type DateRange struct {
	// LastModified is the date of the version, whether it has come yet or not. Zero: no date proves the version.
	LastModified time.Time
	// Earlier is the latest date with which another version of the name can have been shown. Zero: none can.
	Earlier time.Time
	// Since is the second in which the version came to the name, or a later one. Zero: it is not known, and long ago.
	Since time.Time
	// Ahead are dates later than Earlier, with which other versions of the name can have been shown before they had come.
	Ahead []Span
	// Unsure: the tag of the version is not known. What counts as another version may have the same content.
	Unsure bool
}

// Proves implements [Dates]. Dates have whole seconds, so fractions are not compared.
//
// The date of the version itself proves it if no other version can have been shown with it. A later date, which a client took
// from its own clock when it got the version, must be later than the second in which the version came to the name.
func (r DateRange) Proves(date time.Time) Truth {
	d, own := date.Unix(), r.LastModified.Unix()
	if r.LastModified.IsZero() || d < own || d > own && d <= r.Since.Unix() {
		return False
	}
	if d <= r.Earlier.Unix() || d > own && r.isAhead(d) {
		if r.Unsure {
			return Unknown
		}
		return False
	}
	return True
}

func (r DateRange) isAhead(second int64) bool {
	for _, s := range r.Ahead {
		if s.Has(second) {
			return true
		}
	}
	return false
}

// A Span is the time from a first second to a last one, both included, in seconds since 1970. See [NoTime].
type Span struct{ First, Last int64 }

// NoTime is the span without a second in it.
var NoTime = Span{math.MaxInt64, math.MinInt64}

// Has reports whether a second is in the span.
func (s Span) Has(second int64) bool { return s.First <= second && second <= s.Last }

// Join returns the shortest span that has all of both.
func (s Span) Join(other Span) Span { return Span{min(s.First, other.First), max(s.Last, other.Last)} }

// With returns the shortest span that has all of this one, and a second.
func (s Span) With(second int64) Span { return s.Join(Span{second, second}) }
