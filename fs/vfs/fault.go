package vfs

import iofs "io/fs"

// A Call is one system call, before it happens.
type Call struct {
	Op   string // the name of the call
	Name string // of the file or directory, relative to the root
	To   string // the second name of a call that has one
}

// String returns the call as a line of a trace.
func (c Call) String() string {
	s := c.Op + " " + c.Name
	if c.To != "" {
		s += " -> " + c.To
	}
	return s
}

// A Hook is asked before each system call. An error that it returns fails the call, which then does not happen. Calls
// that cannot fail, such as those that close and unlock, are not asked about.
type Hook func(Call) error

// do is the one place in which the hook is asked.
func (h Hook) do(op, name, to string) error {
	if h == nil {
		return nil
	}
	if err := h(Call{op, name, to}); err != nil {
		return &iofs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}
