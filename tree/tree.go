// Package tree is the contract between the server and its stores: a tree of named versions that change under
// conditions.
//
// A request names the version that it expects. If the tree still has that version, it moves to the next one in a
// single step. Otherwise nothing happens. So every method of [Store] that changes something takes a [Condition], and
// checks it inside the commit, while nothing else can change.
//
// # Names
//
// A name is a path below the root, with slashes between its segments and none at the ends. The root itself is "".
// Names are bytes, not UTF-8: two names are the same only if all bytes are. [CheckName] says which names can exist. A
// store may take two names for one all the same ([SameName]), as some file systems do. Then each can be used for the
// other, locks apply to both, and a Move from one to the other changes the spelling.
package tree

import (
	"encoding/base64"
	"time"

	"golang.org/x/net/webdav"
)

// An ETag is a strong entity tag with its quotation marks (RFC 9110 §8.8.3). "" means that the tag is not known, or
// that there is none.
type ETag string

// TagOf returns the tag of the content with this SHA-256. Equal content has an equal tag: under any name, after a
// restart, on every instance.
func TagOf(sum [32]byte) ETag {
	var tag [2 + 43]byte
	tag[0], tag[len(tag)-1] = '"', '"'
	base64.RawURLEncoding.Encode(tag[1:], sum[:])
	return ETag(tag[:])
}

// A State describes a name at one instant.
type State struct {
	Name       string
	Exists     bool
	Collection bool
	// the name is a symbolic link, and the other fields describe its target, but listings do not follow it
	Link    bool
	Through bool // a symbolic link is on the path of the name (set beside an error too)
	Dead    bool // with Link: the target cannot be shown, so there is no content and no tag
	// Fixed says that no method changes, makes or removes the name ([ErrPermission], set beside [ErrNotExist] too).
	Fixed bool
	// Resolved is the name without links that the other fields describe, or nil if no link is on the path of Name and
	// Name is no link.
	Resolved *string
	// Tag is the tag of the content of a file, or "" for a collection, and if it is not known yet.
	Tag     ETag
	Size    int64     // in bytes (0 for a collection)
	Created time.Time // zero if not known
	// Executable says that local programs may execute the file.
	Executable bool

	// Modified is the modification time on the disk, in whole seconds. Programs can set it to any time, also in the
	// future. Zero: not known.
	Modified time.Time
	// LastModified is the value of the Last-Modified header (RFC 9110 §8.8.2): Modified of a file, or zero as long as
	// that is in the future.
	LastModified time.Time
	// Dates are the dates that identify this version. A store sets them for a file in a [View], and in the result of
	// Open. Nil: no date does.
	Dates Dates

	// The following are set only if a [Want] asks for them.
	Properties []webdav.Property // dead properties, in document order
	Locks      []Lock            // the locks that cover the name
	Sums       Sums              // SHA-256, SHA-1 and MD5 of the content of a file, or nil if not known
}
