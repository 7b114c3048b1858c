package treetest

import (
	"testing"
	"time"
)

// Eventually returns once a condition holds, and ends the test if it does not within two minutes. what says which
// condition that is.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: this does not happen", what)
		}
	}
}
