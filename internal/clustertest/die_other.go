//go:build !linux

package clustertest

import "syscall"

// dieWithParent does nothing here: no test kills a front.
func dieWithParent() *syscall.SysProcAttr { return nil }
