package duration

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		in   string
		want time.Duration // -1: none
	}{
		{"0", 0}, {"0s", 0}, {"0d", 0}, {"90s", 90 * time.Second}, {"90m", 90 * time.Minute}, {"24h", Day}, {"1h30m", 90 * time.Minute},
		{"7d", Week}, {"1d", Day}, {"1w", Week}, {"2w", 2 * Week}, {"1w2d", 9 * Day}, {"1d12h", 36 * time.Hour}, {"1.5d", 36 * time.Hour},
		{".5w", Week / 2}, {"36h0.5d", 2 * Day}, {"500ms", 500 * time.Millisecond}, {"1µs", time.Microsecond}, {"15250w", 15250 * Week},
		{"", -1}, {"-", -1}, {"d", -1}, {"7", -1}, {"1 d", -1}, {"7days", -1}, {"1y", -1}, {"1d2", -1}, {"1..5d", -1}, {"1e3d", -1},
		{"100000w", -1}, {"15250w15250w", -1}, {"9999999999999999d", -1}, {"+1d", -1}, {"1d-2h", -1}, {"NaNd", -1},
	} {
		got, err := Parse(test.in)
		if want := test.want; (err == nil) != (want >= 0) || want >= 0 && got != want {
			t.Errorf("Parse(%q) = %v, %v; want %v", test.in, got, err, want)
		}
		if test.want > 0 {
			if got, err := Parse("-" + test.in); err != nil || got != -test.want {
				t.Errorf("Parse(%q) = %v, %v", "-"+test.in, got, err)
			}
		}
	}
}

func TestParseAgo(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		in   string
		want time.Duration // before now; -1: none
	}{
		{"90m", 90 * time.Minute}, {"1d", Day}, {"1w", Week}, {"yesterday", Day}, {"Yesterday", Day}, {"1 day ago", Day}, {"2 days ago", 2 * Day},
		{"3 hours", 3 * time.Hour}, {"90 min", 90 * time.Minute}, {"1d ago", Day}, {"2weeks", 2 * Week}, {"30 seconds ago", 30 * time.Second}, {"0", 0},
		{"noon", -1}, {"-1d", -1}, {"ago", -1}, {"2 moons ago", -1}, {"99999999999 weeks", -1}, {"400000 weeks ago", -1}, {"", -1},
	} {
		got, ok := ParseAgo(test.in, now)
		if want := now.Add(-test.want); ok != (test.want >= 0) || ok && !got.Equal(want) {
			t.Errorf("ParseAgo(%q) = %v, %v; want %v", test.in, got, ok, test.want)
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{Day: "24h", time.Minute: "1m", 90 * time.Minute: "1h30m", 5 * time.Second: "5s", 0: "0s", 61 * time.Second: "1m1s", time.Hour + time.Second: "1h0m1s"} {
		if got := Short(d); got != want {
			t.Errorf("%v is shown as %q, want %q", d, got, want)
		}
	}
}
