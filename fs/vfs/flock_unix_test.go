//go:build unix

package vfs

import (
	"errors"
	"os/exec"
	"testing"
)

// A child process has copies of the descriptors of its parent from fork(2) to execve(2). This child keeps one.
func TestLockEndsAlthoughAChildHasTheDescriptor(t *testing.T) {
	for name, end := range map[string]func(*File) error{
		"Close":   (*File).Close,
		"Funlock": func(f *File) error { f.Funlock(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			calls, err := Open(t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer calls.Close()
			f, err := calls.Create("locked")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.TryFlock(); err != nil {
				t.Fatal(err)
			}
			child := exec.Command("cat")
			child.ExtraFiles = append(child.ExtraFiles, osFile(f))
			input, err := child.StdinPipe()
			if err == nil {
				err = child.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				input.Close()
				child.Wait()
			}()

			other, err := calls.Open("locked")
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			if err := other.TryFlock(); !errors.Is(err, ErrBusy) {
				t.Fatalf("the lock of a locked file: %v, want ErrBusy", err)
			}
			if err := end(f); err != nil {
				t.Fatal(err)
			}
			if err := other.TryFlock(); err != nil {
				t.Errorf("a child still has the lock: %v", err)
			}
		})
	}
}
