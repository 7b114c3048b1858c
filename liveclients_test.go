//go:build clients

package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"r-seed-1f3a754f.example/ifmatch/internal/scripttest"
)

// TestClients drives the server with real clients. Package scripttest documents the commands of their scripts.
func TestClients(t *testing.T) {
	testscript.Run(t, scripttest.ClientParams("testdata/clients", flagVariables()))
}

// TestDesktops does the same with clients that take too long to install for .ci/run. .ci/long runs it, and says which
// ones are missing.
func TestDesktops(t *testing.T) {
	testscript.Run(t, scripttest.ClientParams("testdata/clients/long", flagVariables()))
}
