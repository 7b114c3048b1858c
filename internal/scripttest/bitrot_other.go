//go:build !linux

package scripttest

import "github.com/rogpeppe/go-internal/testscript"

func cmdRot(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("rot is for Linux") }
