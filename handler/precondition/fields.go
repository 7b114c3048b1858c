package precondition

import (
	"net/http"
	"strings"
	"time"
)

// A field is a header as it was sent.
type field struct {
	name  string
	value string // several lines joined as in RFC 9110 §5.3
	sent  bool
}

func readField(h http.Header, name string) field {
	lines := h[name] // which has the form that net/http gives to all
	return field{name: name, value: strings.Join(lines, ", "), sent: len(lines) > 0}
}

// An etagField is If-Match or If-None-Match. If it is malformed or lists nothing, its list is empty and matches
// nothing: If-Match is then false, and If-None-Match is true.
type etagField struct {
	field
	list      etagList
	malformed bool
}

func readETags(h http.Header, name string) etagField {
	f := etagField{field: readField(h, name)}
	list, ok := parseETagList(f.value)
	f.list, f.malformed = list, !ok || !list.any && len(list.tags) == 0
	return f
}

// readNoneMatch reads If-None-Match. A line "*" counts, also beside other lines, because its client does not
// want to replace a resource.
func readNoneMatch(h http.Header) etagField {
	f := readETags(h, "If-None-Match")
	for _, line := range h["If-None-Match"] {
		f.list.any = f.list.any || strings.Trim(line, " \t") == "*"
	}
	return f
}

// A dateField is If-Unmodified-Since or If-Modified-Since. A malformed one is ignored (RFC 9110 §13.1.3 and §13.1.4).
// Two lines are malformed.
type dateField struct {
	field
	time  time.Time
	valid bool
}

func readDate(h http.Header, name string, now time.Time) dateField {
	f := dateField{field: readField(h, name)}
	if !f.sent {
		return f
	}
	date, err := http.ParseTime(f.value) // the three forms of RFC 9110 §5.6.7
	f.time, f.valid = date, err == nil
	if _, err := time.Parse(time.RFC850, f.value); err == nil {
		f.time = inCentury(date, now)
	}
	return f
}

// inCentury moves a date with two digits of the year to the century that RFC 9110 §5.6.7 defines: the latest one in
// which the date is at most 50 years in the future. Package time uses the years from 1969 to 2068.
func inCentury(date, now time.Time) time.Time {
	for !date.AddDate(100, 0, 0).After(now.AddDate(50, 0, 0)) {
		date = date.AddDate(100, 0, 0)
	}
	for date.After(now.AddDate(50, 0, 0)) {
		date = date.AddDate(-100, 0, 0)
	}
	return date
}
