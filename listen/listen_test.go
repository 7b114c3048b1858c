package listen

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/usage"
)

// TestResolve covers addresses that need no name server.
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
		listen, loopback, err := Resolve(t.Context(), "--addr", test.addr)
		if got, want := fmt.Sprint(listen, loopback, err), fmt.Sprint(test.listen, test.loopback, nil); got != want {
			t.Errorf("Resolve(%q) = %s, want %s", test.addr, got, want)
		}
	}
	for _, addr := range []string{"", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:-1", "::1:80", "127.0.0.1:99999"} {
		listen, _, err := Resolve(t.Context(), "--addr", addr)
		if wrong := new(usage.Error); !errors.As(err, &wrong) {
			t.Errorf("Resolve(%q) = %s, %v; want a usage error", addr, listen, err)
		}
	}
}

// TestLoopbackNames judges a name by all that it leads to.
func TestLoopbackNames(t *testing.T) {
	_, loopback, err := Resolve(t.Context(), "--addr", "localhost:0")
	if !reflect.DeepEqual([]any{loopback, err}, []any{true, nil}) {
		t.Errorf("localhost is loopback: %v, %v", loopback, err)
	}
}
