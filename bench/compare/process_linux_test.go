package compare

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestCPUTimeIsThatOfTheKernel compares the time of this process with its own getrusage(2).
func TestCPUTimeIsThatOfTheKernel(t *testing.T) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: &exec.Cmd{Process: self}}
	used := func(who int) (sum time.Duration) {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	all := func() time.Duration { return used(syscall.RUSAGE_SELF) + used(syscall.RUSAGE_CHILDREN) }
	for begin := all(); all() < begin+30*time.Millisecond; {
	}
	if err := exec.Command("true").Run(); err != nil { // a child that is there no more
		t.Fatal(err)
	}
	before, told, after := all(), p.cpu(), all()
	if told < before-2*ticks || told > after+2*ticks { // of children, /proc tells whole ticks
		t.Errorf("the time is %v, and the kernel says from %v to %v", told, before, after)
	}
}

func TestMembersAreAllBelow(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 1000 & echo; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if _, err := out.Read(make([]byte, 1)); err != nil { // the child is there
		t.Fatal(err)
	}
	if found := members(cmd.Process.Pid); len(found) != 2 || found[0].pid != cmd.Process.Pid {
		t.Errorf("the processes of %d are %v", cmd.Process.Pid, found)
	}
	if m := p.memory(); m.resident <= 0 || m.peak < m.resident {
		t.Errorf("the memory is %v", m)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

func TestParseStat(t *testing.T) {
	const rest = " S 7 1 1 0 -1 4194304 100 200 0 0 11 22 33 44 20 0 1 0 100 0 0"
	for _, test := range []struct {
		stat string
		want member
		ok   bool
	}{
		{"42 (sh)" + rest, member{42, 33, 77}, true},
		{"42 (a ) S 1 (b)" + rest, member{42, 33, 77}, true},
		{"42 (sh", member{}, false},
		{"42 (sh) S 7", member{}, false},
		{"", member{}, false},
	} {
		m, parent, err := parseStat([]byte(test.stat))
		if (err == nil) != test.ok || err == nil && (m != test.want || parent != 7) {
			t.Errorf("%q is %v below %d, %v", test.stat, m, parent, err)
		}
	}
}
