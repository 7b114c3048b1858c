package certificate

import (
	"errors"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/usage"
)

func TestParseName(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"files.example", "files.example"},
		{"Files.Example.", "files.example"},
		{"a-b.c.example", "a-b.c.example"},
		{"localhost", ""},
		{"192.0.2.1", ""},
		{"::1", ""},
		{"*.example", ""},
		{"files.example:443", ""},
		{"https://files.example", ""},
		{"../files.example", ""},
		{".example", ""},
		{"a..example", ""},
		{"files.exämple", ""},
	} {
		got, err := ParseName(tt.in)
		wrong := new(usage.Error)
		if got != tt.want || (err == nil) != (tt.want != "") || err != nil && !errors.As(err, &wrong) {
			t.Errorf("%q: %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}
