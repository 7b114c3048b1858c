//go:build clients

package main

import (
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"r-seed-1f3a754f.example/ifmatch/internal/clustertest"
	"r-seed-1f3a754f.example/ifmatch/internal/scripttest"
)

// TestClients drives the server with real clients. Package scripttest documents the commands of their scripts.
func TestClients(t *testing.T) {
	testscript.Run(t, scripttest.ClientParams("testdata/clients", flagVariables()))
}

// clientsOnCluster are the scripts of clients that run against a cluster too. The others are about local programs, about other
// servers in front, or send nothing that these do not.
var clientsOnCluster = []string{"cadaver", "curl", "davfs2", "davfs2_users", "gio", "litmus", "rclone_refused", "rclone_users",
	"versions"}

// TestClientsOnCluster drives three servers with real clients, each request with the next of them.
func TestClientsOnCluster(t *testing.T) {
	params := scripttest.ClientParams("testdata/clients", slices.Concat(flagVariables(), clustertest.Variables()))
	testscript.Run(t, onCluster(t, clustertest.Requests, params, clientsOnCluster))
}

// TestDesktops does the same with clients that take too long to install for .ci/run. .ci/long runs it, and says which
// ones are missing.
func TestDesktops(t *testing.T) {
	testscript.Run(t, scripttest.ClientParams("testdata/clients/long", flagVariables()))
}
