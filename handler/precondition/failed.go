package precondition

import (
	"fmt"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Failed error reports a false condition (412). Nothing may change then.
type Failed struct {
	Header string     // the header that failed, such as "If-Match"
	Want   string     // its value, several lines joined as in RFC 9110 §5.3
	Name   string     // the resource for which the condition is false
	Have   tree.State // the current state of that resource

	// Malformed says that the header is malformed, and so matches nothing.
	Malformed bool
	// Foreign is the first resource tag of If, as sent, that is not on this server, so that a list about it is always
	// false ("": none).
	Foreign string

	tags []etag // in the header
}

func (e *Failed) Error() string {
	return fmt.Sprintf("%s: %s is not true of %q", e.Header, e.Want, e.Name)
}

// NamesTag reports whether the header has a tag. An If may have only lock tokens.
func (e *Failed) NamesTag() bool { return len(e.tags) > 0 }

// Mangled reports whether the header would match a version if a proxy had not changed its tag, see [Loose].
func (e *Failed) Mangled(have tree.State) bool {
	return slices.ContainsFunc(e.tags, func(t etag) bool {
		return Strict.strong(t, have) == tree.False && Loose.strong(t, have) == tree.True
	})
}

// A NotModified error reports that a GET or HEAD would return the version that the client already has (304).
type NotModified struct{ Have tree.State }

func (e *NotModified) Error() string { return fmt.Sprintf("%q is not modified", e.Have.Name) }
