package vfs

import iofs "io/fs"

// A Call is one system call, before it happens.
type Call struct {
	Op   string // the name of the call
	Name string // of the file or directory, relative to the root
	To   string // the second name, if the call has one
}

// String returns the call as a line of a trace.
func (c Call) String() string {
	s := c.Op + " " + c.Name
	if c.To != "" {
		s += " -> " + c.To
	}
	return s
}

// A Hook is called before each system call. If it returns an error, the system call fails with that error and does not
// happen. The Hook is not called for system calls that cannot fail, such as those that close and unlock.
type Hook func(Call) error

// do is the one place that calls the hook.
func (h Hook) do(op, name, to string) error {
	if h == nil {
		return nil
	}
	if err := h(Call{op, name, to}); err != nil {
		return &iofs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}
