package main

import (
	"errors"
	"flag"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// A span is a duration as a flag: in it a day has 24 hours.
type span time.Duration

var _ flag.Value = new(span)

// Set implements [flag.Value].
func (s *span) Set(text string) error {
	d, err := parseDuration(text)
	if err == nil {
		*s = span(d)
	}
	return err
}

// String returns what package time reads, for [cli.Context.Duration].
func (s *span) String() string { return time.Duration(*s).String() }

// withDays lets flags that are durations be given in days and weeks too.
func withDays(flags []cli.Flag) []cli.Flag {
	for i, f := range flags {
		if d, ok := f.(*cli.DurationFlag); ok {
			value := span(d.Value)
			flags[i] = &cli.GenericFlag{
				Name: d.Name, Usage: d.Usage, EnvVars: d.EnvVars, Value: &value, DefaultText: shortDuration(d.Value),
			}
		}
	}
	return flags
}

// shortDuration writes a duration as people do: 24h, and not 24h0m0s.
func shortDuration(d time.Duration) string {
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

// parseDuration reads a duration as package time does, and with days and weeks: "7d", "1w2d", "1.5d12h".
func parseDuration(text string) (sum time.Duration, err error) {
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
			return 0, errDuration // "sum < 0": more than there can be
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

// longest bounds what a duration can be, in the unit that it is given in.
const longest = float64(1<<63 - 1)

func durationOf(number, unit string) (time.Duration, error) {
	units := map[string]time.Duration{"d": day, "w": week}
	if units[unit] == 0 {
		return time.ParseDuration(number + unit)
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n*float64(units[unit]) >= longest {
		return 0, errDuration
	}
	return time.Duration(n * float64(units[unit])), nil
}

// words are the units of a time ago as people write them.
var words = map[string]time.Duration{
	"second": time.Second, "sec": time.Second, "minute": time.Minute, "min": time.Minute, "hour": time.Hour,
	"day": day, "week": week,
}

var ago = regexp.MustCompile(`^([0-9]+)\s*([a-z]+?)s?$`)

// parseAgo reads how long ago something was: "90m", "1d", "2 days ago", "yesterday".
func parseAgo(text string, now time.Time) (time.Time, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "yesterday" {
		return now.AddDate(0, 0, -1), true
	}
	text = strings.TrimSpace(strings.TrimSuffix(text, "ago"))
	if d, err := parseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), true
	}
	part := ago.FindStringSubmatch(text)
	if part == nil || words[part[2]] == 0 {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(part[1], 10, 32)
	if err != nil || float64(n)*float64(words[part[2]]) >= longest {
		return time.Time{}, false
	}
	return now.Add(-time.Duration(n) * words[part[2]]), true
}
