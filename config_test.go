package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

func TestParseHistory(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		keep time.Duration
		size string
		want history.Retention
		good bool
	}{
		{day, "10%", history.Retention{Keep: day, Share: 0.1}, true},
		{0, "100%", history.Retention{Share: 1}, true},
		{day, "20GB", history.Retention{Keep: day, Most: 20e9}, true},
		{day, "1 GiB", history.Retention{Keep: day, Most: 1 << 30}, true},
		{day, "4096", history.Retention{Keep: day, Most: 4096}, true},
		{-day, "10%", history.Retention{}, false},
		{day, "0", history.Retention{}, false},
		{day, "0%", history.Retention{}, false},
		{day, "101%", history.Retention{}, false},
		{day, "NaN%", history.Retention{}, false},
		{day, "much", history.Retention{}, false},
		{day, "", history.Retention{}, false},
	}
	for _, test := range tests {
		got, err := parseHistory(test.keep, test.size)
		if usage := new(usageError); (err == nil) != test.good || err != nil && !errors.As(err, &usage) || err == nil && got != test.want {
			t.Errorf("%v, %q: got %+v, error %v", test.keep, test.size, got, err)
		}
	}
}

func TestParseLimits(t *testing.T) {
	unfinished := uploadLimits{Number: 1000}
	defaults := Limits{Pace: wire.DefaultLimit, Idle: idleTimeout, Unfinished: unfinished}
	few := defaults
	few.Connections, few.Uploads, few.Requests, few.ClientConnections, few.ClientRequests = 5, 4, 3, 2, 1
	slow := Limits{Pace: wire.Limit{Pause: time.Second, Rate: 20_000}, Idle: time.Hour, Upload: 10e9, Unfinished: unfinished}
	parted := defaults
	parted.Unfinished = uploadLimits{Number: 3, Bytes: 5e9}
	for _, test := range []struct {
		args string
		want Limits
		bad  bool
	}{
		{"", defaults, false},
		{"--max-connections 5 --max-uploads 4 --max-requests 3 --client-connections 2 --client-requests 1", few, false},
		{"--min-rate 20kB --max-pause 1s --idle-timeout 1h --max-upload 10GB", slow, false},
		{"--unfinished-uploads 3 --unfinished-size 5GB", parted, false},
		{"--unfinished-uploads -1", Limits{}, true},
		{"--unfinished-size much", Limits{}, true},
		{"--max-connections -1", Limits{}, true},
		{"--max-pause 0s", Limits{}, true},
		{"--idle-timeout 1ms", Limits{}, true},
		{"--min-rate fast", Limits{}, true},
		{"--max-upload -1", Limits{}, true},
	} {
		var got Limits
		var err error
		app := cli.App{Flags: serveFlags(), Action: func(c *cli.Context) error { got, err = parseLimits(c); return nil }}
		if failed := app.Run(append([]string{"serve"}, strings.Fields(test.args)...)); failed != nil {
			t.Fatal(failed)
		}
		if (err != nil) != test.bad || !test.bad && got != test.want {
			t.Errorf("%q gives %+v, %v; want %+v", test.args, got, err, test.want)
		}
	}
}

func TestBoundsOfLimits(t *testing.T) {
	resources := limit.Resources{Descriptors: 1 << 14, Memory: 8 << 30, CPUs: 2}
	all := resources.Bounds()
	if got := (&Limits{}).bounds(resources); got != all {
		t.Errorf("without flags they are %+v, want %+v", got, all)
	}
	limits := Limits{Connections: 5, Uploads: 4, Requests: 3, ClientConnections: 2, ClientRequests: 1}
	want := limit.Bounds{Connections: 5, Streams: all.Streams, Uploads: 4, Downloads: 3, Listings: 3, Archives: 3, Changes: 3,
		Hashes: all.Hashes, ClientConnections: 2, ClientRequests: 1}
	if got := limits.bounds(resources); got != want {
		t.Errorf("they are %+v, want %+v", got, want)
	}
}
