package main

import (
	"errors"
	iofs "io/fs"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

func TestParseOrigin(t *testing.T) {
	tests := []struct{ in, want string }{
		{"https://app.example", "https://app.example"},
		{"HTTPS://App.Example", "https://app.example"},
		{"https://app.example:443", "https://app.example"},
		{"http://app.example:443", "http://app.example:443"},
		{"http://localhost:3000", "http://localhost:3000"},
		{"http://[::1]:80", "http://[::1]"},
		{"http://[::1]:81", "http://[::1]:81"},
		{"https://app.example:", "https://app.example"},
		{"*", ""},
		{"null", ""},
		{"https://*.example", ""},
		{"app.example", ""},
		{"https://", ""},
		{"https://app.example/", ""},
		{"https://app.example?x", ""},
		{"https://app.example?", ""},
		{"https://app.example#x", ""},
		{"https://ann@app.example", ""},
		{"file:///x", ""},
		{"moz-extension://abc", ""},
	}
	for _, test := range tests {
		got, err := parseOrigin(test.in)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("parseOrigin(%q) = %q, %v; want %q", test.in, got, err, test.want)
		}
	}
}

func TestParseProxy(t *testing.T) {
	tests := []struct{ in, want string }{
		{"10.0.0.2", "10.0.0.2/32"},
		{"10.0.0.2/8", "10.0.0.0/8"},
		{"::1", "::1/128"},
		{"::ffff:10.0.0.2", "10.0.0.2/32"},
		{"fd00::/8", "fd00::/8"},
		{"proxy", ""},
		{"10.0.0.2/33", ""},
		{"10.0.0.2:80", ""},
	}
	for _, test := range tests {
		got, err := parseProxy(test.in)
		if err == nil && got.String() != test.want || (err == nil) != (test.want != "") {
			t.Errorf("parseProxy(%q) = %v, %v; want %q", test.in, got, err, test.want)
		}
	}
}

func TestParseHistory(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		keep time.Duration
		size string
		want fs.Retention
		good bool
	}{
		{day, "10%", fs.Retention{Keep: day, Share: 0.1}, true},
		{0, "100%", fs.Retention{Share: 1}, true},
		{day, "20GB", fs.Retention{Keep: day, Most: 20e9}, true},
		{day, "1 GiB", fs.Retention{Keep: day, Most: 1 << 30}, true},
		{day, "4096", fs.Retention{Keep: day, Most: 4096}, true},
		{-day, "10%", fs.Retention{}, false},
		{day, "0", fs.Retention{}, false},
		{day, "0%", fs.Retention{}, false},
		{day, "101%", fs.Retention{}, false},
		{day, "NaN%", fs.Retention{}, false},
		{day, "much", fs.Retention{}, false},
		{day, "", fs.Retention{}, false},
	}
	for _, test := range tests {
		got, err := parseHistory(test.keep, test.size)
		if usage := new(usageError); (err == nil) != test.good || err != nil && !errors.As(err, &usage) || err == nil && got != test.want {
			t.Errorf("%v, %q: got %+v, error %v", test.keep, test.size, got, err)
		}
	}
}

func TestParseMode(t *testing.T) {
	for _, test := range []struct {
		in   string
		want iofs.FileMode
	}{
		{"", 0}, {"700", 0o700}, {"0755", 0o755}, {"2770", 0o770 | iofs.ModeSetgid}, {"3777", 0o777 | iofs.ModeSetgid | iofs.ModeSticky},
	} {
		if got, err := parseMode("dir-mode", test.in, 0o700, 0o3777); got != test.want || err != nil {
			t.Errorf("parseMode(%q) = %v, %v; want %v", test.in, got, err, test.want)
		}
	}
	for _, in := range []string{"0", "600", "4755", "rwx", "0o755", "-1", "789", "77777777777777777777"} {
		got, err := parseMode("dir-mode", in, 0o700, 0o3777)
		if usage := new(usageError); !errors.As(err, &usage) {
			t.Errorf("parseMode(%q) = %v, %v; want a usage error", in, got, err)
		}
	}
}

func TestParsePrefix(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""}, {"/", ""}, {"/dav", "/dav"}, {"/dav/", "/dav"}, {"/a/b", "/a/b"}, {"/my files", "/my files"}, {"/ä", "/ä"},
	}
	for _, test := range tests {
		if got, err := parsePrefix(test.in); got != test.want || err != nil {
			t.Errorf("parsePrefix(%q) = %q, %v; want %q", test.in, got, err, test.want)
		}
	}
	for _, in := range []string{"dav", "//", "/a//b", "/a/../b", "/.", "/a%20b", "/a?b", "/a#b", `/a\b`, "/a\x00"} {
		got, err := parsePrefix(in)
		if usage := new(usageError); !errors.As(err, &usage) {
			t.Errorf("parsePrefix(%q) = %q, %v; want a usage error", in, got, err)
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
	want := limit.Bounds{Connections: 5, Streams: all.Streams, Uploads: 4, Downloads: 3, Listings: 3, Changes: 3,
		Hashes: all.Hashes, ClientConnections: 2, ClientRequests: 1}
	if got := limits.bounds(resources); got != want {
		t.Errorf("they are %+v, want %+v", got, want)
	}
}
