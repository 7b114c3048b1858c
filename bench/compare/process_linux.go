package compare

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process is a running server with its children.
type process struct {
	cmd   *exec.Cmd
	ended chan error
}

// startProcess starts a server in a process group of its own, so that its children end with it.
func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan error, 1)}
	go func() { p.ended <- cmd.Wait() }()
	return p, nil
}

func (p *process) hasEnded() bool {
	select {
	case err := <-p.ended:
		p.ended <- err
		return true
	default:
		return false
	}
}

// stop ends the server and its children. How it ends does not matter here.
func (p *process) stop() error {
	group := -p.cmd.Process.Pid
	if p.hasEnded() {
		return nil
	}
	if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
	}
	err := syscall.Kill(group, syscall.SIGKILL)
	<-p.ended
	return errors.Join(errors.New("a server did not end and was killed"), err)
}

// ticks are the units of time in /proc (USER_HZ), which Linux has fixed at 100 a second.
const ticks = time.Second / 100

// cpu returns how long the server and its children have run on a processor. Of those that run the kernel tells
// nanoseconds (the CPU-time clock of a process), and of those that have ended hundredths of a second.
func (p *process) cpu() (sum time.Duration) {
	for _, member := range members(p.cmd.Process.Pid) {
		sum += time.Duration(member.reaped) * ticks
		var t unix.Timespec
		if unix.ClockGettime(int32(^member.pid<<3|2), &t) == nil {
			sum += time.Duration(t.Nano())
		} else {
			sum += time.Duration(member.own) * ticks
		}
	}
	return sum
}

// memory is in KiB. Pages that processes share count for each.
type memory struct{ resident, peak int64 }

func (p *process) memory() (sum memory) {
	for _, member := range members(p.cmd.Process.Pid) {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", member.pid)) // one that has ended since has none
		for line := range strings.Lines(string(status)) {
			var n int64
			if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
				sum.resident += n
			}
			if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &n); err == nil {
				sum.peak += n
			}
		}
	}
	return sum
}

// forgetPeak has the kernel count the peak of memory anew. Where it does not, the peak is that since the start.
func (p *process) forgetPeak() {
	for _, member := range members(p.cmd.Process.Pid) {
		os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", member.pid), []byte("5"), 0)
	}
}

// A member is one process of a server. The times are in ticks.
type member struct {
	pid         int
	own, reaped int64
}

// members returns a process and all below it.
func members(pid int) (found []member) {
	children := map[int][]member{}
	var top []member
	entries, _ := os.ReadDir("/proc") // without it nothing is known, and no time is told
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue // "self" is told of by its number, too
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended since
		}
		m, parent, err := parseStat(stat)
		if err != nil {
			continue
		}
		if m.pid == pid {
			top = append(top, m)
		}
		children[parent] = append(children[parent], m)
	}
	for next := top; len(next) > 0; {
		m := next[0]
		next = append(next[1:], children[m.pid]...)
		found = append(found, m)
	}
	return found
}

// parseStat reads proc_pid_stat(5). The second field is the name of the program, with any bytes within parentheses.
func parseStat(stat []byte) (m member, parent int, err error) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return m, 0, errors.New("no stat")
	}
	if _, err := fmt.Sscan(string(stat), &m.pid); err != nil {
		return m, 0, err
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 15 {
		return m, 0, errors.New("a short stat")
	}
	var user, system, reapedUser, reapedSystem int64
	for i, to := range map[int]any{1: &parent, 11: &user, 12: &system, 13: &reapedUser, 14: &reapedSystem} {
		if _, err := fmt.Sscan(fields[i], to); err != nil {
			return m, 0, err
		}
	}
	m.own, m.reaped = user+system, reapedUser+reapedSystem
	return m, parent, nil
}
