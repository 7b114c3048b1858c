package origin

import "testing"

func TestValidHosts(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:80": true, "localhost:": true, "127.0.0.1:8080": true, "[::1]": true, "[::1]:80": true, "[::1]:": true, "": true, "::1": true,
		"127.0.0.1:evil": false, "127.0.0.1:80x": false, "localhost:65536": false, "localhost:-1": false, "localhost:8:0": false, "[::1]:x": false,
		"[fe80::1%25x]": false, "[fe80::1%25x]:80": false, "ex%61mple": false,
	} {
		if got := validHost(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}
