package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// usage has the counts of the operating system for one process.
type usage struct {
	resident, peak int64 // KiB: VmRSS and VmHWM
	watches        int
}

func usageOf(pid int) (u usage, err error) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		// An error leaves a count at 0, which is checked below.
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &u.resident)
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &u.peak)
	}
	if u.resident == 0 || u.peak == 0 {
		return u, errors.New(proc + "status does not tell of memory")
	}
	files, err := filepath.Glob(proc + "fdinfo/*")
	if err != nil {
		return u, err
	}
	for _, file := range files {
		info, err := os.ReadFile(file)
		if err != nil {
			continue // the descriptor was closed since
		}
		u.watches += bytes.Count(info, []byte("\ninotify wd:"))
	}
	return u, nil
}

// cpuOf returns how long the threads of a process have run, which is how long the process would take on an idle
// machine. It is 0 if the system does not tell.
func cpuOf(pid int) (cpu time.Duration) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is correct
	for _, thread := range threads {
		text, _ := os.ReadFile(thread) // a thread that has ended since counts 0
		var ran time.Duration
		_, _ = fmt.Sscan(string(text), &ran)
		cpu += ran
	}
	return cpu
}

// dropCaches empties the caches of the kernel.
func dropCaches() error {
	f, err := os.OpenFile("/proc/sys/vm/drop_caches", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	syncAll() // only pages that are on the disk are dropped
	_, err = f.WriteString("3\n")
	return err
}
