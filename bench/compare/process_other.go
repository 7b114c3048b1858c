//go:build !linux

package compare

import (
	"os"
	"os/exec"
	"time"
)

// A process is a running server. CPU time and memory are told on Linux alone.
type process struct {
	cmd   *exec.Cmd
	ended chan error
}

func startProcess(cmd *exec.Cmd) (*process, error) {
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

func (p *process) stop() error {
	if p.hasEnded() {
		return nil
	}
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
	}
	err := p.cmd.Process.Kill()
	<-p.ended
	return err
}

// memory is in KiB.
type memory struct{ resident, peak int64 }

func (p *process) cpu() time.Duration { return 0 }
func (p *process) memory() memory     { return memory{} }
func (p *process) forgetPeak()        {}
