//go:build !linux

package watcher

import (
	"errors"
	"os"
	"os/exec"
)

// swap exchanges two names, here in three steps.
func swap(a, b string) error {
	tmp := a + ".swap"
	if err := os.Rename(a, tmp); err != nil {
		return err
	}
	if err := os.Rename(b, a); err != nil {
		return err
	}
	return os.Rename(tmp, b)
}

func inNamespace(*exec.Cmd) error { return errors.ErrUnsupported }

func unshared() error { return errors.ErrUnsupported }

func mountKind(_, _ string) error { return errors.ErrUnsupported }

func bind(_, _ string) error { return errors.ErrUnsupported }

func unmount(string) error { return errors.ErrUnsupported }

func limitWatches(string) error { return errors.ErrUnsupported }

func maxQueuedEvents() (int, error) { return 0, errors.ErrUnsupported }
