package vfs

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestHolderIn(t *testing.T) {
	self := fmt.Sprint(os.Getpid())
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	locks := "1: POSIX  ADVISORY  WRITE 11 fe:00:7 0 EOF\n" +
		"2: FLOCK  ADVISORY  WRITE 22 fe:00:77 0 EOF\n" +
		"3: FLOCK  ADVISORY  WRITE " + self + " fe:00:7 0 EOF\n" +
		"3: -> FLOCK  ADVISORY  WRITE 33 fe:00:7 0 EOF\n" +
		"4: FLOCK  ADVISORY  READ  4000000000 00:2a:4294967296 0 EOF\n"
	for _, tt := range []struct {
		major, minor uint32
		inode        uint64
		want         string
	}{
		{0xfe, 0, 7, "process " + self + " (" + strings.TrimSpace(string(comm)) + ")"},
		{0, 0x2a, 1 << 32, "process 4000000000"},
		{0xfe, 1, 7, someProcess},
		{0xfe, 0, 8, someProcess},
	} {
		if got := holderIn(locks, tt.major, tt.minor, tt.inode); got != tt.want {
			t.Errorf("%x:%x:%d is held by %q, want %q", tt.major, tt.minor, tt.inode, got, tt.want)
		}
	}
}
