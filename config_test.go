package main

import (
	"bytes"
	"errors"
	"fmt"
	iofs "io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"ifmatch/fs"
)

// TestExitCode keeps apart what cannot be meant (2) and what did not work (1).
func TestExitCode(t *testing.T) {
	tests := []struct {
		args string
		want int
	}{
		{"version", 0},
		{"--help", 0},
		{"serve --help", 0},
		{"bogus", 2},
		{"serve --bogus", 2},
		{"serve a b", 2},
		{"serve --addr nonsense", 2},
		{"serve --addr :0 --memory", 2},
		{"etag", 2},
		{"serve --addr 127.0.0.1:0 testdata/nowhere", 1},
		{"etag testdata/nowhere", 1},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			err := newApp(&stdout, &stderr).RunContext(t.Context(), append([]string{"ifmatch"}, strings.Fields(test.args)...))
			if got := exitCode(err); got != test.want {
				t.Errorf("exit code %d (%v), want %d", got, err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the message has more than one line: %v", err)
			}
			if stderr.Len() > 0 {
				t.Errorf("the app wrote its errors itself: %s", &stderr)
			}
		})
	}
}

// TestFlagsHaveVariables makes sure that a flag cannot be forgotten in the environment.
func TestFlagsHaveVariables(t *testing.T) {
	for _, flag := range serveFlags() {
		name := flag.Names()[0]
		got := flag.(cli.DocGenerationFlag).GetEnvVars()
		if want := env(name); !slices.Equal(got, want) {
			t.Errorf("--%s has %q, want %q", name, got, want)
		}
	}
}

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

// TestResolve looks at what needs no name server.
func TestResolve(t *testing.T) {
	tests := []struct {
		addr, listen string
		loopback     bool
	}{
		{"127.0.0.1:8080", "127.0.0.1:8080", true},
		{"127.1.2.3:0", "127.1.2.3:0", true},
		{"[::1]:80", "[::1]:80", true},
		{"[::ffff:127.0.0.1]:80", "127.0.0.1:80", true},
		{":8080", ":8080", false},
		{"0.0.0.0:8080", "0.0.0.0:8080", false},
		{"[::]:8080", "[::]:8080", false},
		{"192.0.2.1:8080", "192.0.2.1:8080", false},
		{"[::ffff:192.0.2.1]:80", "192.0.2.1:80", false},
	}
	for _, test := range tests {
		listen, loopback, err := resolve(t.Context(), test.addr)
		if got, want := fmt.Sprint(listen, loopback, err), fmt.Sprint(test.listen, test.loopback, nil); got != want {
			t.Errorf("resolve(%q) = %s, want %s", test.addr, got, want)
		}
	}
	for _, addr := range []string{"", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:-1", "::1:80", "127.0.0.1:99999"} {
		listen, _, err := resolve(t.Context(), addr)
		if usage := new(usageError); !errors.As(err, &usage) {
			t.Errorf("resolve(%q) = %s, %v; want a usage error", addr, listen, err)
		}
	}
}

// TestLoopbackNames judges a name by all that it leads to.
func TestLoopbackNames(t *testing.T) {
	_, loopback, err := resolve(t.Context(), "localhost:0")
	if !reflect.DeepEqual([]any{loopback, err}, []any{true, nil}) {
		t.Errorf("localhost is loopback: %v, %v", loopback, err)
	}
}

func TestFlagsStandAnywhere(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"ifmatch", "ifmatch"},
		{"ifmatch etag f -x", "ifmatch etag f -x"},
		{"ifmatch serve", "ifmatch serve"},
		{"ifmatch serve --help", "ifmatch serve --help"},
		{"ifmatch serve --addr :0 d", "ifmatch serve --addr :0 -- d"},
		{"ifmatch serve d --addr :0", "ifmatch serve --addr :0 -- d"},
		{"ifmatch serve d --addr=:0 --read-only e", "ifmatch serve --addr=:0 --read-only -- d e"},
		{"ifmatch serve --read-only d --prefix /x", "ifmatch serve --read-only --prefix /x -- d"},
		{"ifmatch serve -- --d", "ifmatch serve -- --d"},
		{"ifmatch serve --read-only -- -d", "ifmatch serve --read-only -- -d"},
		{"ifmatch history list f --dir d", "ifmatch history list --dir d -- f"},
		{"ifmatch history restore f --at=1h", "ifmatch history restore --at=1h -- f"},
		{"ifmatch history --help", "ifmatch history --help"},
		{"ifmatch serve d --addr", "ifmatch serve --addr -- d"},
	} {
		if got := strings.Join(flagsFirst(strings.Fields(test.args)), " "); got != test.want {
			t.Errorf("%q becomes %q, want %q", test.args, got, test.want)
		}
	}
}
