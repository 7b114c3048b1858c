//go:build unix

package limit

import "syscall"

// descriptors returns how many files this process may have open. Package os raises that limit to the highest possible
// one when the process starts.
func descriptors() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), 1<<20))
}
