// Package synctoken writes cursors of a store as the sync tokens of RFC 6578, and reads them.
//
// A token is bound to the user it was given to, and to the rules in force then, because the changes that a client was
// not told of depend on both. It grants nothing: the answer to a token depends on the rights of the client alone.
package synctoken

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// scheme is the beginning of all tokens. RFC 6578 §4: a token is a URI.
const scheme = "urn:x-ifmatch:sync:"

// New returns the token of a cursor. binding is any text.
func New(c tree.Cursor, binding string) string { return scheme + string(c) + ":" + sum(c, binding) }

// Is reports whether a URI is a sync token and no other state token.
func Is(uri string) bool { return strings.HasPrefix(uri, scheme) }

// In reports whether an If header has a sync token (RFC 6578 §5).
func In(header string) bool { return strings.Contains(header, "<"+scheme) }

// Cursor returns the cursor of a token. ok is false if the token is not one of this binding.
func Cursor(token, binding string) (c tree.Cursor, ok bool) {
	rest, ok := strings.CutPrefix(token, scheme)
	at := strings.LastIndexByte(rest, ':')
	if !ok || at < 0 {
		return "", false
	}
	c = tree.Cursor(rest[:at])
	return c, c != "" && rest[at+1:] == sum(c, binding)
}

func sum(c tree.Cursor, binding string) string {
	all := sha256.Sum256([]byte(string(c) + "\x00" + binding))
	return base64.RawURLEncoding.EncodeToString(all[:12])
}
