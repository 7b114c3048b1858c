package tree

import (
	"errors"
	"fmt"
)

// A View is the current tree during one call. It is valid only as long as the call that passes it.
type View interface {
	// State returns the state of a name. If nothing is there, that is no error, and Exists is false.
	State(name string) (State, error)
	// Locks returns the locks that cover a name and those on names below it. Their roots have the spelling of that
	// name.
	Locks(name string) ([]Lock, error)
	// Covering returns the locks that cover a name, without those below it.
	Covering(name string) ([]Lock, error)
	// Holds reports whether a lock with this token covers a name.
	Holds(name, token string) (bool, error)
}

// Committing reports whether a [Check] decides inside the commit of a write: if it succeeds, the write happens, or fails
// for another reason. A store also asks Checks ahead, so that nothing is done in vain. Then it is false, and it is true
// for stores whose View does not say.
func Committing(v View) bool {
	if v, ok := v.(interface{ Committing() bool }); ok {
		return v.Committing()
	}
	return true
}

// MaxLate is the most bytes of a body that may be read before its condition is asked, see [Condition].
const MaxLate = 16 << 10

// A Condition says when an operation may happen. The zero value is always true.
type Condition struct {
	// Exact says that a write may replace or remove only the version that Check has seen, and only if no local
	// program has that version open for writing ([ErrBusy]). Otherwise the write replaces the version that is there
	// at the instant of the commit.
	Exact bool
	// Names are the names for which Check may call State or Locks besides the names of the operation, so that a store
	// can look at all of them at once. Check may also ask about the ancestors of all these names.
	Names []string
	// Follow is asked about the links that State follows (nil: all are followed). A link that leads nowhere is Dead, and
	// nothing is at a name to which it leads.
	Follow Follow
	// Check decides. Nil: the condition is true.
	Check Check
	// Late, if not nil, reports whether the whole body of the Put that follows a Try has come, and has at most [MaxLate]
	// bytes. Then a refusal before the body is read comes no earlier than one after. So a store whose looks are trips to
	// another machine may leave that Try to the Put, which asks Check before it fails for another reason.
	Late func() bool
	// Made, if not nil, is called when a write has made its change, inside the commit: no other commit decides between the
	// last Check and it. It must be quick, and must not call the store. If the write fails after that, the error is
	// [ErrUnsure], or that of a Move which had to copy. Such a Move may call it once for each of its changes.
	Made func()
}

// A Check decides whether an operation may happen. It is a pure function of the View, and may be called several
// times. The caller of the [Store] gets its error.
//
// A Check that needs a tag which the View does not know returns [ErrTagUnknown]. The store then leaves the commit,
// hashes the file, and calls the Check again. So a store hashes only files that a condition names.
type Check func(View) error

// Ask calls the Check.
func (c Condition) Ask(v View) error {
	if c.Check == nil {
		return nil
	}
	return c.Check(v)
}

// AskKnown is [Condition.Ask] for a store in which all tags are known.
func (c Condition) AskKnown(v View) error {
	err := c.Ask(v)
	if errors.Is(err, ErrTagUnknown) {
		return fmt.Errorf("a condition asks for a tag that does not exist: %w", ErrBusy)
	}
	return err
}

// Spelled is [Speller.Spelled] inside a [Check], where a handler verifies that a name which it looked up earlier is
// still right. It looks at few names, and so may miss spellings that the other finds.
func Spelled(v View, name string) string {
	if v, ok := v.(interface{ Spelled(name string) string }); ok {
		return v.Spelled(name)
	}
	return name
}

// SameName reports whether a store takes two names for one, for instance because they differ only in case.
func SameName(v View, a, b string) bool {
	if v, ok := v.(interface{ SameName(a, b string) bool }); ok {
		return v.SameName(a, b)
	}
	return a == b
}
