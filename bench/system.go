package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
