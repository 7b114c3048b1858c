// Package own has the addresses of the program itself, in place of files: PREFIX/.ifmatch/ADDRESS, and names below it.
//
// All other names like .ifmatch are reserved, see [tree.ErrReserved]. An address counts in exactly this spelling, once
// the escapes, the empty segments and the dot segments of the path are resolved as those of every path are (RFC 3986
// §6.2.2). It counts only in the Request-URI: no Destination and no If can name one. What is served there is no resource of the tree, and is
// in no listing. So the methods of an address are its own, and each address decides about rights itself.
package own

import "strings"

// Dir is the first segment of all addresses.
const Dir = ".ifmatch"

// A Table has what serves each address, by the segment after [Dir]. S is any type.
type Table[S any] map[string]S

// Find returns what serves a name in the tree, and the rest of the name below its address. ok is false if the name is not
// that of an address, or of something below one.
func (t Table[S]) Find(name string) (serves S, rest string, ok bool) {
	below, ok := strings.CutPrefix(name, Dir+"/")
	if !ok {
		return serves, "", false
	}
	address, rest, _ := strings.Cut(below, "/")
	serves, ok = t[address]
	return serves, rest, ok
}
