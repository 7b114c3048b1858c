// Package usage has the error of a command line, an environment or a configuration file that cannot be meant.
package usage

import "fmt"

// An Error says which argument cannot be meant, and how to correct it.
type Error struct{ Text string }

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Errorf returns an [Error] with a formatted text.
func Errorf(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }
