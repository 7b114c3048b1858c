package limit

import (
	"math"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// memory returns how many bytes this process may use: by GOMEMLIMIT, by its control group, or all that the machine has.
func memory() int64 {
	if n := debug.SetMemoryLimit(-1); n < math.MaxInt64 {
		return n
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	all := int64(info.Totalram) * int64(info.Unit)
	if n := Group(); n > 0 && n < all {
		return n
	}
	return all
}

// Group returns how many bytes the control groups of this process allow all of their processes together. It is 0 if
// they set no limit.
func Group() int64 {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(math.MaxInt64)
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		switch controllers := strings.Split(fields[1], ","); {
		case fields[1] == "": // version 2
			least = min(least, groupsUp("/sys/fs/cgroup", fields[2], "memory.max"))
		case slices.Contains(controllers, "memory"):
			least = min(least, groupsUp("/sys/fs/cgroup/memory", fields[2], "memory.limit_in_bytes"))
		}
	}
	if least > 1<<60 { // version 1 has a large number for no limit
		return 0
	}
	return least
}

// groupsUp returns the least limit of a group and the groups above it.
func groupsUp(root, group, file string) int64 {
	least := int64(math.MaxInt64)
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		if data, err := os.ReadFile(path.Join(root, group, file)); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && n > 0 {
				least = min(least, n)
			}
		}
		if group == "/" {
			return least
		}
	}
}
