package etagfs

import (
	"os"
	"strings"
)

// bootID returns what the kernel has called itself since it started; "" where it does not tell.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
