//go:build unix

package main

import "golang.org/x/sys/unix"

func syncAll() { unix.Sync() }
