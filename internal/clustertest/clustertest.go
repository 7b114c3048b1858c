// Package clustertest runs the tests of a server that serves a directory against a cluster. For them a cluster is a
// program that is called as ifmatch is, with a directory, and behaves as if it served that: the front.
//
// The front puts the directory into a database of its own, starts three servers over it, and sends what arrives to each
// of them in turn. Before a client gets an answer, the front brings the directory up to the change that was answered.
// So a test may look at the directory as it looks at one that is served. A test that writes there later reaches no
// server.
package clustertest

import (
	"os"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
)

// Turn says which part of the traffic a front sends to the next server.
type Turn string

// The turns. Connections arrive at the servers byte for byte. Requests are sent one by one, also those that share a
// connection.
const (
	Connections Turn = "connections"
	Requests    Turn = "requests"
)

// The environment of a front.
const (
	databaseVar = "CLUSTERTEST_DATABASE" // the address of PostgreSQL
	objectsVar  = "CLUSTERTEST_OBJECTS"  // the directory for objects
	turnVar     = "CLUSTERTEST_TURN"
	// ProgramVar names the real ifmatch, unless that is the program of the front itself.
	ProgramVar = "CLUSTERTEST_PROGRAM"
)

// Variables are the names of the environment variables of a front.
func Variables() []string { return []string{databaseVar, objectsVar, turnVar, ProgramVar} }

// Environment starts a database, which ends with the test, and returns the variables with which the program is a front.
// In CI the test fails without PostgreSQL, else it is skipped.
func Environment(t testing.TB, turn Turn) []string {
	t.Helper()
	return []string{
		databaseVar + "=" + pgtest.Run(t).DSN("DATABASE"), objectsVar + "=" + t.TempDir(), turnVar + "=" + string(turn),
	}
}

// IsOn reports whether servers that this process starts are fronts.
func IsOn() bool { return os.Getenv(databaseVar) != "" }

// On has the servers that a test starts be fronts.
func On(t testing.TB, turn Turn) {
	t.Helper()
	for _, variable := range Environment(t, turn) {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
}

// IsFront reports whether the environment and the arguments of this process ask for a front.
func IsFront() bool {
	return IsOn() && len(os.Args) > 1 && os.Args[1] == "serve"
}
