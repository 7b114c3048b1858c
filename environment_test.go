package main

import (
	"errors"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/settings"
)

// A variable that is misspelt is refused by serve and by config show, and the right one is named.
func TestUnknownVariablesAreRefused(t *testing.T) {
	t.Setenv("IFMATCH_USER", "/etc/users")
	for _, args := range [][]string{{"serve"}, {"config", "show"}} {
		err := tryServe(t, append(args, "--addr", "127.0.0.1:0", t.TempDir())...)
		if usage := new(usageError); !errors.As(err, &usage) ||
			!strings.Contains(err.Error(), "IFMATCH_USER is that of no flag: did you mean IFMATCH_USERS?") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestVariablesOfOthersAreLeftAlone(t *testing.T) {
	for variable, good := range map[string]bool{
		"IFMATCH_ADDR=:80": true, "IFMATCH_DIR=/srv": true, "IFMATCHING=yes": true, "PATH=/bin": true,
		// A service of Kubernetes that is called ifmatch, or ifmatch-files.
		"IFMATCH_SERVICE_HOST=10.0.0.1": true, "IFMATCH_SERVICE_PORT=80": true, "IFMATCH_SERVICE_PORT_HTTP=80": true,
		"IFMATCH_PORT=tcp://10.0.0.1:80": true, "IFMATCH_PORT_80_TCP=tcp://10.0.0.1:80": true,
		"IFMATCH_PORT_80_TCP_PROTO=tcp": true, "IFMATCH_FILES_SERVICE_HOST=10.0.0.1": true,
		"IFMATCH_FILES_PORT=udp://10.0.0.1:80": true,
		"IFMATCH_PORT=8080":                    false, "IFMATCH_=": false, "IFMATCH_ADDRESS=": false, "IFMATCH_addr=:80": false,
	} {
		if err := settings.CheckEnvironment([]string{variable}, serveFlags()); (err == nil) != good {
			t.Errorf("%s: %v", variable, err)
		}
	}
}
