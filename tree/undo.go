package tree

import (
	"context"
	"time"
)

// An Undoer is a [Store] that can make a part of the tree what it was at a time.
type Undoer interface {
	// RestoreAt makes a resource, and everything below it, what it was at a time. It brings back what a write has
	// replaced or removed since then, moves back what was moved, at both ends, and removes what was made. Everything
	// that it replaces or removes goes to the history, so that RestoreAt with a time before this call takes it back.
	//
	// It is a sequence of steps, of which each is a write of its own with its own condition: what a step replaces,
	// moves or removes is exactly what was found before. Readers may see some steps done and others not. Each file is
	// whole. If the process dies in between, another call does the rest.
	//
	// What programs have changed on the disk, and files of unknown age, are left as they are. The result names them.
	// [ErrBusy] means that clients change the tree meanwhile, and that nothing was done. The error is a [LockedError] if
	// a WebDAV lock covers the name, or one below it. An error after the first step comes with the result so far.
	RestoreAt(ctx context.Context, name string, at time.Time, opts RestoreAtOptions) (Restored, error)
}

// RestoreAtOptions qualify an [Undoer.RestoreAt].
type RestoreAtOptions struct {
	DryRun bool // do nothing, and return what would be done
	// Condition, if not nil, returns the condition of a step, which is asked inside its commit. It gets the name that
	// the step changes, and of a MOVE the former name. If it is nil, no step happens at a name that has a lock, or has a
	// lock below it.
	Condition func(name, from string) Condition
}

// Restored is the result of an [Undoer.RestoreAt].
type Restored struct {
	Existed bool // something was at the name then
	// Returned are files that were removed since then, Replaced are those that have their former content again, and
	// Removed are those that were made since then. Links count as files.
	Returned, Replaced, Removed int
	Moved                       int // resources that have their former name again
	// ReturnedDirs are collections that are there again, and RemovedDirs are those that were made since then.
	ReturnedDirs, RemovedDirs int
	// Began is a time just before the first step, for a RestoreAt that takes the others back.
	Began time.Time
	// Since is the time since which all changes of the server are known. If it is later than the time that was asked for,
	// former moves and new files are not known. Zero: no changes are known.
	Since time.Time
	Left  []LeftAlone // what is not as it was
	More  int         // how many more there are
}

// Steps returns how many resources are as they were, and were not before.
func (r Restored) Steps() int {
	return r.Returned + r.Replaced + r.Removed + r.Moved + r.ReturnedDirs + r.RemovedDirs
}

// A LeftAlone is a name that was left as it is.
type LeftAlone struct {
	Name   string
	Reason string // in words
}
