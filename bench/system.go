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

// usage is what the operating system counts of a process.
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
		// An error leaves a count at 0, which is one too.
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
			continue // it was closed since
		}
		u.watches += bytes.Count(info, []byte("\ninotify wd:"))
	}
	return u, nil
}

// cpuOf returns how long the threads of a process have run, which is what is left of a time on an idle machine; 0 where
// that is not told.
func cpuOf(pid int) (cpu time.Duration) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is well formed
	for _, thread := range threads {
		text, _ := os.ReadFile(thread) // one that has ended since counts as nothing
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
	syncAll() // what is not on disk yet is not dropped
	_, err = f.WriteString("3\n")
	return err
}

// load is what the machine does, over the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
