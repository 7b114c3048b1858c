package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

func TestParseDuration(t *testing.T) {
	for _, test := range []struct {
		in   string
		want time.Duration // -1: none
	}{
		{"0", 0}, {"0s", 0}, {"0d", 0}, {"90s", 90 * time.Second}, {"90m", 90 * time.Minute}, {"24h", day}, {"1h30m", 90 * time.Minute},
		{"7d", week}, {"1d", day}, {"1w", week}, {"2w", 2 * week}, {"1w2d", 9 * day}, {"1d12h", 36 * time.Hour}, {"1.5d", 36 * time.Hour},
		{".5w", week / 2}, {"36h0.5d", 2 * day}, {"500ms", 500 * time.Millisecond}, {"1µs", time.Microsecond}, {"15250w", 15250 * week},
		{"", -1}, {"-", -1}, {"d", -1}, {"7", -1}, {"1 d", -1}, {"7days", -1}, {"1y", -1}, {"1d2", -1}, {"1..5d", -1}, {"1e3d", -1},
		{"100000w", -1}, {"15250w15250w", -1}, {"9999999999999999d", -1}, {"+1d", -1}, {"1d-2h", -1}, {"NaNd", -1},
	} {
		got, err := parseDuration(test.in)
		if want := test.want; (err == nil) != (want >= 0) || want >= 0 && got != want {
			t.Errorf("parseDuration(%q) = %v, %v; want %v", test.in, got, err, want)
		}
		if test.want > 0 {
			if got, err := parseDuration("-" + test.in); err != nil || got != -test.want {
				t.Errorf("parseDuration(%q) = %v, %v", "-"+test.in, got, err)
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
		{"90m", 90 * time.Minute}, {"1d", day}, {"1w", week}, {"yesterday", day}, {"Yesterday", day}, {"1 day ago", day}, {"2 days ago", 2 * day},
		{"3 hours", 3 * time.Hour}, {"90 min", 90 * time.Minute}, {"1d ago", day}, {"2weeks", 2 * week}, {"30 seconds ago", 30 * time.Second}, {"0", 0},
		{"noon", -1}, {"-1d", -1}, {"ago", -1}, {"2 moons ago", -1}, {"99999999999 weeks", -1}, {"400000 weeks ago", -1}, {"", -1},
	} {
		got, ok := parseAgo(test.in, now)
		if want := now.Add(-test.want); ok != (test.want >= 0) || ok && !got.Equal(want) {
			t.Errorf("parseAgo(%q) = %v, %v; want %v", test.in, got, ok, test.want)
		}
	}
}

// Every flag that is a duration can be given in days, and is shown as people write it.
func TestFlagsInDays(t *testing.T) {
	for _, f := range serveFlags() {
		if _, ok := f.(*cli.DurationFlag); ok {
			t.Errorf("--%s cannot be given in days", f.Names()[0])
		}
	}
	app := cli.App{Flags: serveFlags(), Action: func(c *cli.Context) error {
		cfg, err := configOf(c)
		if err != nil {
			return err
		}
		if cfg.History.Keep != week || cfg.Rescan != day || cfg.Grace != 10*time.Second {
			t.Errorf("got %v, %v, %v", cfg.History.Keep, cfg.Rescan, cfg.Grace)
		}
		return nil
	}}
	if err := app.Run([]string{"serve", "--history", "7d", "--rescan", "1d"}); err != nil {
		t.Error(err)
	}
	for d, want := range map[time.Duration]string{day: "24h", time.Minute: "1m", 90 * time.Minute: "1h30m", 5 * time.Second: "5s", 0: "0s", 61 * time.Second: "1m1s", time.Hour + time.Second: "1h0m1s"} {
		if got := shortDuration(d); got != want {
			t.Errorf("%v is shown as %q, want %q", d, got, want)
		}
	}
}

// Help fits, and calls no value by the name of an example.
func TestHelp(t *testing.T) {
	var commands [][]string
	var collect func(path []string, all []*cli.Command)
	collect = func(path []string, all []*cli.Command) {
		for _, c := range all {
			here := append(slices.Clip(path), c.Name)
			commands = append(commands, here)
			collect(here, c.Subcommands)
		}
	}
	collect([]string{"ifmatch"}, newApp(nil, nil).Commands)
	commands = append(commands, []string{"ifmatch"})
	for _, command := range commands {
		var out bytes.Buffer
		if err := newApp(&out, &out).RunContext(t.Context(), append(command, "--help")); err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > 100 {
				t.Errorf("%q has a line of %d bytes: %s", command, len(line), line)
			}
		}
	}
	for _, f := range serveFlags() {
		usage := f.(cli.DocGenerationFlag).GetUsage()
		if !f.(cli.DocGenerationFlag).TakesValue() {
			continue
		}
		_, rest, found := strings.Cut(usage, "`")
		placeholder, _, _ := strings.Cut(rest, "`")
		if !found || placeholder != strings.ToUpper(placeholder) {
			t.Errorf("--%s has %q for its value", f.Names()[0], placeholder)
		}
		shown := flagHelp(f)
		if !strings.HasPrefix(shown, "   --"+f.Names()[0]+" "+placeholder+"  [$"+env(f.Names()[0])[0]+"]\n") || strings.Contains(shown, "`") {
			t.Errorf("it is shown as %s", shown)
		}
	}
}
