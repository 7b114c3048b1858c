package main

import (
	"testing"

	"r-seed-1f3a754f.example/ifmatch/handler"
)

// TestRFC6585 covers RFC 6585 §3, for a server that requires conditions: which headers count as a condition, and of
// which resource.
func TestRFC6585(t *testing.T) {
	const (
		both = "PUT DELETE"
		ends = "COPY MOVE"
		onto = "Destination: $D/g"
	)
	runSentences(t, Config{Config: handler.Config{RequireConditions: true}}, []sentence{
		{"3 no condition", "f", both, nil, "428", ""},
		{"3 no condition, of a collection", "d", "DELETE", nil, "428", ""},
		{"3 no condition, and nothing is there", "none", "PUT MKCOL LOCK", nil, ok, ""},
		{"3 no condition, and 404", "none", "DELETE COPY MOVE", nil, "404", ""},
		{"3 no condition, and 405", "d", "PUT MKCOL", nil, "405", ""},
		{"3 no condition, and 409", "no/f", "PUT", nil, "409", ""},
		{"3 no condition, and 423", "f", both, nil, "423", "f"},
		{"3 no condition, and nothing is replaced or removed", "f", "GET HEAD COPY PROPPATCH LOCK PROPFIND OPTIONS UNLOCK", nil, ok, ""},
		{"3 no condition, and the name is taken away", "f", "MOVE", nil, "428", ""},
		{"3 no condition, and the name of a collection is", "d", "MOVE", nil, "428", ""},

		{"3 If-Match", "f", both, lines(`If-Match: $F`), ok, ""},
		{"3 If-Match: *", "f", both, lines(`If-Match: *`), ok, ""},
		{"3 If-Match: * of a collection", "d", "DELETE", lines(`If-Match: *`), ok, ""},
		{"3 a false If-Match", "f", both, lines(`If-Match: "a"`), fails("If-Match"), ""},
		{"3 a malformed If-Match", "f", both, lines(`If-Match: a`), fails("If-Match"), ""},
		{"3 If-None-Match", "f", both, lines(`If-None-Match: "a"`), ok, ""},
		{"3 If-None-Match: *", "f", both, lines(`If-None-Match: *`), fails("If-None-Match"), ""},
		{"3 If-None-Match: * of nothing", "none", "PUT", lines(`If-None-Match: *`), ok, ""},
		{"3 a malformed If-None-Match is none", "f", both, lines(`If-None-Match: JoplinIgnore-1`), "428", ""},
		{"3 an empty If-None-Match is none", "f", both, lines(`If-None-Match:`), "428", ""},
		{"3 If-Unmodified-Since", "f", both, lines("If-Unmodified-Since: " + atWritten), ok, ""},
		{"3 an invalid If-Unmodified-Since is none", "f", both, lines("If-Unmodified-Since: now"), "428", ""},
		{"3 If-Modified-Since is none", "f", both, lines("If-Modified-Since: " + atWritten), "428", ""},
		{"3 Overwrite is none", "f", both, lines("Overwrite: T"), "428", ""},

		{"3 If with the tag", "f", both, lines(`If: ([$F])`), ok, ""},
		{"3 If with the tag, tagged", "f", both, lines(`If: <$D/f> ([$F])`), ok, ""},
		{"3 If about another resource is none", "f", both, lines(`If: <$D/g> ([$G])`), "428", ""},
		{"3 If that is always true is none", "f", both, lines(`If: (Not <DAV:no-lock>)`), "428", ""},
		{"3 If whose true list is not about a version is none", "f", both, lines(`If: (["a"]) (Not <urn:x>)`), "428", ""},
		{"3 the token of its lock", "f", both, lines(`If: (<$1>)`), ok, "f"},
		{"3 the token of its lock, always true", "f", both, lines(`If: (<$1>) (Not <DAV:no-lock>)`), ok, "f"},
		{"3 the token of its lock in Lock-Token", "f", both, lines(`Lock-Token: <$1>`), ok, "f"},
		{"3 the token of a lock that covers it", "d/m", both, lines(`If: <$D/d> (<$1>)`), ok, "d+"},
		{"3 the token of another lock is none", "f", both, lines(`Lock-Token: <$1>`), "428", "g"},

		{"3 COPY and MOVE onto something", "f", ends, lines(onto), "428", ""},
		{"3 COPY onto something, by its tag", "f", "COPY", lines(onto, `If: <$D/g> ([$G])`), "204", ""},
		{"3 MOVE onto something, by the tag of that alone", "f", "MOVE", lines(onto, `If: <$D/g> ([$G])`), "428", ""},
		{"3 MOVE onto something, by both tags in If", "f", "MOVE", lines(onto, `If: <$D/f> ([$F]) <$D/g> ([$G])`), "204", ""},
		{"3 COPY and MOVE onto something, by both tags", "f", ends, lines(onto, `If: <$D/g> ([$G])`, `If-Match: $F`), "204", ""},
		{"3 COPY and MOVE onto something else by now", "f", ends, lines(onto, `If: <$D/g> (["a"])`), fails("If"), ""},
		{"3 a condition about the source is none", "f", ends, lines(onto, `If-Match: $F`), "428", ""},
		{"3 a list about the source is none", "f", ends, lines(onto, `If: <$D/f> ([$F]) <$D/g> (["a"])`), "428", ""},
		{"3 COPY onto something that is locked", "f", "COPY", lines(onto, `If: <$D/g> (<$1>)`), "204", "g"},
		{"3 MOVE of what is locked onto something that is", "f", "MOVE", lines(onto, `If: <$D/g> (<$1>) <$D/f> (<$2>)`), "204", "g f"},
		{"3 MOVE with If-Match", "f", "MOVE", lines(`If-Match: $F`), ok, ""},
		{"3 MOVE of a collection with If-Match: *", "d", "MOVE", lines(`If-Match: *`), ok, ""},
		{"3 MOVE with If-Unmodified-Since", "f", "MOVE", lines("If-Unmodified-Since: " + atWritten), ok, ""},
		{"3 MOVE with If", "f", "MOVE", lines(`If: ([$F])`), ok, ""},
		{"3 MOVE of what is locked", "f", "MOVE", lines(`If: (<$1>)`), ok, "f"},
		{"3 MOVE with a condition about another resource", "f", "MOVE", lines(`If: <$D/g> ([$G])`), "428", ""},
		{"3 COPY needs none about its source", "f", "COPY", lines(`If: <$D/g> ([$G])`), ok, ""},
		{"3 Overwrite: F", "f", ends, lines(onto, `Overwrite: F`), fails("Overwrite"), ""},
	})
}
