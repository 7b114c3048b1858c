// Package doctor looks for faults that keep a directory, or a running server, from being served well, and says what to do
// about each.
//
// It changes nothing that a client can see. In a directory it makes a directory of its own for a moment. To a server it
// sends requests that read, and a COPY of a file onto itself, which every WebDAV server refuses (RFC 4918 §9.8.5).
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// A Diagnosis prints its findings line by line. The zero value with Out is ready.
type Diagnosis struct {
	Out   io.Writer
	Looks int // how many lines it has printed
	Wrong int // how many of them are about faults
}

// Good prints a finding that needs no action.
func (d *Diagnosis) Good(format string, args ...any) { d.say("good", fmt.Sprintf(format, args...), "") }

// Note prints a finding that could be better, and the action for that.
func (d *Diagnosis) Note(what, todo string) { d.say("note", what, todo) }

// Bad prints a fault and its remedy.
func (d *Diagnosis) Bad(what, todo string) {
	d.Wrong++
	d.say("WRONG", what, todo)
}

func (d *Diagnosis) say(how, what, todo string) {
	d.Looks++
	if todo != "" {
		what += ": " + todo
	}
	fmt.Fprintf(d.Out, "%-6s %s\n", how, what)
}

// stop prints an error that ends the diagnosis, and reports whether there was one.
func (d *Diagnosis) stop(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: a disk, a server or the network does not answer", err)
	}
	d.Bad(err.Error(), "")
	return true
}
