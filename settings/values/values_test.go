package values

import (
	"errors"
	iofs "io/fs"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/usage"
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
		got, err := Origin(test.in)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("Origin(%q) = %q, %v; want %q", test.in, got, err, test.want)
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
		got, err := proxy(test.in)
		if err == nil && got.String() != test.want || (err == nil) != (test.want != "") {
			t.Errorf("proxy(%q) = %v, %v; want %q", test.in, got, err, test.want)
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
		if got, err := Mode("dir-mode", test.in, 0o700, 0o3777); got != test.want || err != nil {
			t.Errorf("Mode(%q) = %v, %v; want %v", test.in, got, err, test.want)
		}
	}
	for _, in := range []string{"0", "600", "4755", "rwx", "0o755", "-1", "789", "77777777777777777777"} {
		got, err := Mode("dir-mode", in, 0o700, 0o3777)
		if wrong := new(usage.Error); !errors.As(err, &wrong) {
			t.Errorf("Mode(%q) = %v, %v; want a usage error", in, got, err)
		}
	}
}

func TestParsePrefix(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""}, {"/", ""}, {"/dav", "/dav"}, {"/dav/", "/dav"}, {"/a/b", "/a/b"}, {"/my files", "/my files"}, {"/ä", "/ä"},
	}
	for _, test := range tests {
		if got, err := Prefix(test.in); got != test.want || err != nil {
			t.Errorf("Prefix(%q) = %q, %v; want %q", test.in, got, err, test.want)
		}
	}
	for _, in := range []string{"dav", "//", "/a//b", "/a/../b", "/.", "/a%20b", "/a?b", "/a#b", `/a\b`, "/a\x00"} {
		got, err := Prefix(in)
		if wrong := new(usage.Error); !errors.As(err, &wrong) {
			t.Errorf("Prefix(%q) = %q, %v; want a usage error", in, got, err)
		}
	}
}
