// Package duration reads and writes durations as people do: in days and weeks too.
package duration

import (
	"errors"
	"flag"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A Day has 24 hours here, and a Week seven of them.
const (
	Day  = 24 * time.Hour
	Week = 7 * Day
)

// A Flag is a duration as a [flag.Value].
type Flag time.Duration

var _ flag.Value = new(Flag)

// Set implements [flag.Value].
func (s *Flag) Set(text string) error {
	d, err := Parse(text)
	if err == nil {
		*s = Flag(d)
	}
	return err
}

// String returns the duration as package time writes it, so that urfave/cli can parse it.
func (s *Flag) String() string { return time.Duration(*s).String() }

// Short writes a duration without its zero parts: 24h, not 24h0m0s.
func Short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var errDuration = errors.New("write a duration such as 90s, 10m, 24h, 7d or 2w")

var durationPart = regexp.MustCompile(`^([0-9]*\.?[0-9]+|[0-9]+\.)([a-zµμ]+)`)

// Parse reads a duration as [time.ParseDuration] does, and with days and weeks: "7d", "1w2d", "1.5d12h".
func Parse(text string) (sum time.Duration, err error) {
	rest, negative := strings.CutPrefix(text, "-")
	if rest == "0" {
		return 0, nil
	}
	for rest != "" {
		part := durationPart.FindStringSubmatch(rest)
		if part == nil {
			return 0, errDuration
		}
		one, err := durationOf(part[1], part[2])
		if sum += one; err != nil || sum < 0 {
			return 0, errDuration // sum < 0: it overflowed
		}
		rest = rest[len(part[0]):]
	}
	if text == "" || text == "-" {
		return 0, errDuration
	}
	if negative {
		sum = -sum
	}
	return sum, nil
}

// longest is the longest duration, in nanoseconds.
const longest = float64(1<<63 - 1)

func durationOf(number, unit string) (time.Duration, error) {
	units := map[string]time.Duration{"d": Day, "w": Week}
	if units[unit] == 0 {
		return time.ParseDuration(number + unit)
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n*float64(units[unit]) >= longest {
		return 0, errDuration
	}
	return time.Duration(n * float64(units[unit])), nil
}

// unitNames are the units that ParseAgo knows beside those of Parse.
var unitNames = map[string]time.Duration{
	"second": time.Second, "sec": time.Second, "minute": time.Minute, "min": time.Minute, "hour": time.Hour,
	"day": Day, "week": Week,
}

var ago = regexp.MustCompile(`^([0-9]+)\s*([a-z]+?)s?$`)

// ParseAgo reads a time before now: "90m", "1d", "2 days ago", "yesterday".
func ParseAgo(text string, now time.Time) (time.Time, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "yesterday" {
		return now.AddDate(0, 0, -1), true
	}
	text = strings.TrimSpace(strings.TrimSuffix(text, "ago"))
	if d, err := Parse(text); err == nil && d >= 0 {
		return now.Add(-d), true
	}
	part := ago.FindStringSubmatch(text)
	if part == nil || unitNames[part[2]] == 0 {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(part[1], 10, 32)
	if err != nil || float64(n)*float64(unitNames[part[2]]) >= longest {
		return time.Time{}, false
	}
	return now.Add(-time.Duration(n) * unitNames[part[2]]), true
}
