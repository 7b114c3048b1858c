package scripttest

import (
	"os"
	"syscall"
)

// stopProcess stops a child, and returns when all its threads have stopped: none of them takes a call any more.
func stopProcess(p *os.Process) error {
	err := p.Signal(syscall.SIGSTOP)
	if err == nil {
		_, err = syscall.Wait4(p.Pid, nil, syscall.WUNTRACED, nil)
	}
	return err
}

func continueProcess(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
