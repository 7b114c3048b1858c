// The program front stands in for ifmatch, whose path is in the environment, in tests of a cluster. See package clustertest.
package main

import (
	"fmt"
	"os"
	"syscall"

	"r-seed-1f3a754f.example/ifmatch/internal/clustertest"
)

func main() {
	if clustertest.IsFront() {
		clustertest.Main()
		return
	}
	program := os.Getenv(clustertest.ProgramVar)
	if err := syscall.Exec(program, append([]string{program}, clustertest.Arguments(os.Args[1:])...), os.Environ()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
