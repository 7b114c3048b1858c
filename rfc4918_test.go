package main

import "testing"

// TestRFC4918 is what RFC 4918 says of the If header, of locks and of Overwrite as it binds a server, sentence by
// sentence.
func TestRFC4918(t *testing.T) {
	const (
		changes = "PUT DELETE MOVE PROPPATCH" // of a locked file
		ends    = "COPY MOVE"
	)
	runSentences(t, Config{}, []sentence{
		// §10.4.1: "If this header is evaluated and all state lists fail, then the request MUST fail with a 412
		// (Precondition Failed) status. On the other hand, the request can succeed only if one of the described state
		// lists succeeds."
		{"10.4.1 all state lists fail", "f", onFile, lines(`If: (["a"]) (["b"])`), fails("If"), ""},
		{"10.4.1 the only state list fails", "f", onFile, lines(`If: ([$G])`), fails("If"), ""},
		{"10.4.1 one of them succeeds", "f", onFile, lines(`If: (["a"]) ([$F])`), ok, ""},
		{"10.4.1 the first of them succeeds", "f", onFile, lines(`If: ([$F]) (["a"])`), ok, ""},
		{"10.4.1 all fail, PROPFIND, OPTIONS and UNLOCK", "f", elsewhere, lines(`If: (["a"])`), fails("If"), ""},
		{"10.4.1 one succeeds, PROPFIND, OPTIONS and UNLOCK", "f", elsewhere, lines(`If: (["a"]) ([$F])`), ok, ""},
		{"10.4.1 all fail, of nothing", "none", onNothing, lines(`If: (["a"])`), fails("If"), ""},
		{"10.4.1 all fail, of a collection", "d", onCollection, lines(`If: (["a"])`), fails("If"), ""},
		{"10.4.1 all fail, before the content is read", "f", "BADPATCH BADLOCK BADFIND", lines(`If: (["a"])`), fails("If"), ""},
		// "Additionally, the mere fact that a state token appears in an If header means that it has been "submitted" with
		// the request." "… independently of whether the server actually has evaluated the state list it appears in, and
		// also independently of whether or not the condition it expressed was found to be true."
		{"10.4.1 submitted in a list that is true", "f", changes, lines(`If: (<$1>)`), ok, "f"},
		{"10.4.1 submitted in a list that is false", "f", changes, lines(`If: (<$1> ["a"]) ([$F])`), ok, "f"},
		{"10.4.1 submitted behind what decides", "f", changes, lines(`If: ([$F]) (<$1>)`), ok, "f"},
		{"10.4.1 submitted behind Not", "f", changes, lines(`If: (Not <$1>) ([$F])`), ok, "f"},
		{"10.4.1 submitted for another resource", "f", changes, lines(`If: <$D/g> (<$1>) <$D/f> ([$F])`), ok, "f"},
		{"10.4.1 submitted for another server", "f", changes, lines(`If: <http://other.example/f> (<$1>) <$D/f> ([$F])`), ok, "f"},
		{"10.4.1 submitted, and the header is false", "f", changes, lines(`If: (<$1> ["a"])`), fails("If"), "f"},
		{"10.4.1 another token is submitted", "f", changes, lines(`If: (<urn:uuid:00000000-0000-4000-8000-000000000000>) ([$F])`), "423", "f"},
		{"10.4.1 the token of another lock is submitted", "f", changes, lines(`If: <$D/g> (<$2>)`), "423", "f g"},
		{"10.4.1 an entity tag is no token", "f", changes, lines(`If: (["$1"]) ([$F])`), "423", "f"},
		{"10.4.1 submitted in Lock-Token, as Office does", "f", changes, lines(`Lock-Token: <$1>`), ok, "f"},
		{"10.4.1 submitted in Lock-Token without brackets", "f", changes, lines(`Lock-Token: $1`), ok, "f"},
		{"10.4.1 Lock-Token of another lock", "f", changes, lines(`Lock-Token: <$2>`), "423", "f g"},
		{"10.4.1 Lock-Token is no condition", "f", onFile, lines(`Lock-Token: <urn:x>`), ok, ""},

		// §10.4.2: If = "If" ":" ( 1*No-tag-list | 1*Tagged-list ). "Untagged lists apply to the resource identified
		// by the Request-URI, while tagged lists apply to the resource identified by the preceding Resource-Tag."
		{"10.4.2 an untagged list is about the Request-URI", "f", onFile, lines(`If: ([$F])`), ok, ""},
		{"10.4.2 an untagged list is not about the Destination", "f", ends, lines(`If: ([$G])`, `Destination: $D/g`), fails("If"), ""},
		{"10.4.2 a tagged list is about its resource", "f", onFile, lines(`If: <$D/g> ([$G])`), ok, ""},
		{"10.4.2 a tagged list is not about the Request-URI", "f", onFile, lines(`If: <$D/g> ([$F])`), fails("If"), ""},
		{"10.4.2 a tagged list of the Request-URI", "f", onFile, lines(`If: <$D/f> ([$F])`), ok, ""},
		{"10.4.2 a tag may be an absolute URI", "f", onFile, lines(`If: <http://$A$D/g> ([$G])`), ok, ""},
		{"10.4.2 an absolute URI, false", "f", onFile, lines(`If: <http://$A$D/g> ([$F])`), fails("If"), ""},
		{"10.4.2 an absolute URI of any scheme", "f", onFile, lines(`If: <https://$A$D/g> ([$G])`), ok, ""},
		{"10.4.2 an absolute URI as davfs and KDE write it", "f", onFile, lines(`If: <webdavs://$A$D/g> ([$G])`), ok, ""},
		{"10.4.2 a scheme in upper case", "f", onFile, lines(`If: <HTTP://$A$D/g> ([$G])`), ok, ""},
		{"10.4.2 an escaped letter is a letter", "f", onFile, lines(`If: <$D/%67> ([$G])`), ok, ""},
		{"10.4.2 a user in the authority is not the server", "f", onFile, lines(`If: <http://me@$A$D/g> ([$G])`), ok, ""},
		{"10.4.2 another authority is never true", "f", onFile, lines(`If: <http://other.example$D/f> ([$F])`), fails("If"), ""},
		{"10.4.2 another authority is not true behind Not", "f", onFile, lines(`If: <http://other.example$D/f> (Not ["a"])`), fails("If"), ""},
		{"10.4.2 another authority does not spoil the rest", "f", onFile, lines(`If: <http://other.example$D/f> (["a"]) <$D/f> ([$F])`), ok, ""},
		{"10.4.2 a path with .. is the one without", "f", onFile, lines(`If: <$D/d/../f> ([$F])`), ok, ""},
		{"10.4.2 a path with . and empty segments is the one without", "f", onFile, lines(`If: </.$D//%2e/f> ([$F])`), ok, ""},
		{"10.4.2 a path that leads above the root is of nothing", "f", onFile, lines(`If: </..$D/f> ([$F])`), fails("If"), ""},
		{"10.4.2 a query is of nothing", "f", onFile, lines(`If: <$D/f?a> ([$F])`), fails("If"), ""},
		{"10.4.2 an empty query is of nothing, behind Not too", "f", onFile, lines(`If: <$D/f?> (Not ["a"])`), fails("If"), ""},
		{"10.4.2 a path that is badly escaped is of nothing", "f", onFile, lines(`If: <$D/%zz> ([$F])`), fails("If"), ""},
		{"10.4.2 what the server keeps for itself is of nothing", "f", onFile, lines(`If: </.ifmatch/lock> ([$F])`), fails("If"), ""},
		{"10.4.2 a name too long for the disk is of nothing", "f", onFile, lines(`If: <$D/` + long + `> ([$F])`), fails("If"), ""},
		// "A Resource-Tag applies to all subsequent Lists, up to the next Resource-Tag."
		{"10.4.2 a tag goes for the second list", "f", onFile, lines(`If: <$D/g> (["a"]) ([$G])`), ok, ""},
		{"10.4.2 a tag ends at the next", "f", onFile, lines(`If: <$D/g> (["a"]) <$D/f> ([$G])`), fails("If"), ""},
		{"10.4.2 the same tag twice", "f", onFile, lines(`If: <$D/f> (["a"]) <$D/f> ([$F])`), ok, ""},
		// "Note that the two list types cannot be mixed within an If header."
		{"10.4.2 tagged after untagged", "f", onFile, lines(`If: ([$F]) <$D/f> ([$F])`), "400", ""},
		{"10.4.2 tagged and untagged on two lines", "f", onFile, lines(`If: ([$F])`, `If: <$D/f> ([$F])`), "400", ""},
		{"10.4.2 several lines are one header, untagged", "f", onFile, lines(`If: (["a"])`, `If: ([$F])`), ok, ""},
		{"10.4.2 several lines are one header, tagged", "f", onFile, lines(`If: <$D/f> (["a"])`, `If: <$D/g> ([$G])`), ok, ""},
		{"10.4.2 several lines are one header, false", "f", onFile, lines(`If: <$D/f> (["a"])`, `If: <$D/g> (["a"])`), fails("If"), ""},
		// Space, and where there is none: "No LWS allowed between "[", entity-tag and "]"", "No LWS allowed in Resource-Tag".
		{"10.4.2 space is free around", "f", onFile, lines("If: \t( Not  [\"a\"]\t[$F] )  "), ok, ""},
		{"10.4.2 no space is needed", "f", onFile, lines(`If:<$D/g>(["a"])<$D/f>(Not["a"][$F])`), ok, ""},
		{"10.4.2 no space between [ and the tag", "f", onFile, lines(`If: ([ $F])`), "400", ""},
		{"10.4.2 no space between the tag and ]", "f", onFile, lines(`If: ([$F ])`), "400", ""},
		{"10.4.2 no space in a resource tag", "f", onFile, lines(`If: <$D/f > ([$F])`), "400", ""},
		{"10.4.2 no space in a state token", "f", onFile, lines(`If: (<urn:x >)`), "400", ""},
		// What is not of this grammar is closed, on every method.
		{"10.4.2 empty", "f", onFile + " PROPFIND OPTIONS", lines(`If:`), "400", ""},
		{"10.4.2 empty, of nothing", "none", onNothing, lines(`If:`), "400", ""},
		{"10.4.2 a comma", "f", onFile, lines(`If: ,`), "400", ""},
		{"10.4.2 an empty list", "f", onFile, lines(`If: ()`), "400", ""},
		{"10.4.2 an empty list beside a true one", "f", onFile, lines(`If: ([$F]) ()`), "400", ""},
		{"10.4.2 an open list", "f", onFile, lines(`If: ([$F]`), "400", ""},
		{"10.4.2 an open tag", "f", onFile, lines(`If: ([$F)`), "400", ""},
		{"10.4.2 an open quote", "f", onFile, lines(`If: (["a])`), "400", ""},
		{"10.4.2 no list", "f", onFile, lines(`If: $F`), "400", ""},
		{"10.4.2 no brackets", "f", onFile, lines(`If: ($F)`), "400", ""},
		{"10.4.2 no quotes", "f", onFile, lines(`If: ([abc])`), "400", ""},
		{"10.4.2 no resource for a list", "f", onFile, lines(`If: <> ([$F])`), "400", ""},
		{"10.4.2 no list for a resource", "f", onFile, lines(`If: <$D/f>`), "400", ""},
		{"10.4.2 no list for the last resource", "f", onFile, lines(`If: <$D/f> ([$F]) <$D/g>`), "400", ""},
		{"10.4.2 a relative resource", "f", onFile, lines(`If: <f> ([$F])`), "400", ""},
		{"10.4.2 a relative token", "f", onFile, lines(`If: (<f>)`), "400", ""},
		{"10.4.2 * is no tag", "f", onFile, lines(`If: ([*])`), "400", ""},
		{"10.4.2 * is no header", "f", onFile, lines(`If: *`), "400", ""},
		{"10.4.2 Not of nothing", "f", onFile, lines(`If: (Not)`), "400", ""},
		{"10.4.2 Not Not", "f", onFile, lines(`If: (Not Not [$F])`), "400", ""},
		{"10.4.2 Not of a list", "f", onFile, lines(`If: Not (["a"])`), "400", ""},
		{"10.4.2 a list in a list", "f", onFile, lines(`If: (([$F]))`), "400", ""},
		{"10.4.2 two tags in brackets", "f", onFile, lines(`If: (["a", $F])`), "400", ""},
		{"10.4.2 something behind", "f", onFile, lines(`If: ([$F]) and more`), "400", ""},
		{"10.4.2 Not is in any case", "f", onFile, lines(`If: (NOT ["a"] nOT <urn:x>)`), ok, ""},
		{"10.4.2 a bracket may stand in a tag", "f", onFile, lines(`If: (["])("]) ([$F])`), ok, ""},
		{"10.4.2 a comma may stand in a tag", "f", onFile, lines(`If: (["a,b"]) ([$F])`), ok, ""},
		{"10.4.2 obs-text may stand in a tag", "f", onFile, lines("If: ([\"\xfc\"]) ([$F])"), ok, ""},

		// §10.4.3: "A Condition that consists of a single entity-tag or state-token evaluates to true if the resource
		// matches the described state". "Prefixing it with "Not" reverses the result of the evaluation (thus, the
		// "Not" applies only to the subsequent entity-tag or state-token)."
		{"10.4.3 Not of a tag that is not current", "f", onFile, lines(`If: (Not ["a"])`), ok, ""},
		{"10.4.3 Not of the current tag", "f", onFile, lines(`If: (Not [$F])`), fails("If"), ""},
		{"10.4.3 Not of a token that is not there", "f", onFile, lines(`If: (Not <urn:x>)`), ok, ""},
		{"10.4.3 Not of the lock that is there", "f", changes, lines(`If: (Not <$1>)`), fails("If"), "f"},
		{"10.4.3 Not goes for the next only, true", "f", onFile, lines(`If: (Not ["a"] [$F])`), ok, ""},
		{"10.4.3 Not goes for the next only, false", "f", onFile, lines(`If: (Not ["a"] ["b"])`), fails("If"), ""},
		// "The whole list evaluates to true if and only if each condition evaluates to true".
		{"10.4.3 both of a list are true", "f", changes, lines(`If: (<$1> [$F])`), ok, "f"},
		{"10.4.3 the tag of a list is not", "f", changes, lines(`If: (<$1> ["a"])`), fails("If"), "f"},
		{"10.4.3 the token of a list is not", "f", onFile, lines(`If: (<urn:x> [$F])`), fails("If"), ""},
		{"10.4.3 two tags cannot both be", "f", onFile, lines(`If: ([$F] ["a"])`), fails("If"), ""},
		// "They evaluate to true if and only if any of the contained lists evaluates to true". "Finally, the whole If header
		// evaluates to true if and only if at least one of the No-tag-list or Tagged-list productions evaluates to true."
		{"10.4.3 true of any resource is true", "f", onFile, lines(`If: <$D/f> (["a"]) <$D/g> ([$G])`), ok, ""},
		{"10.4.3 true of the first resource is true", "f", onFile, lines(`If: <$D/f> ([$F]) <$D/g> (["a"])`), ok, ""},
		{"10.4.3 false of all resources is false", "f", onFile, lines(`If: <$D/f> (["a"]) <$D/g> (["a"]) <$D/d/m> (["a"])`), fails("If"), ""},
		// "Otherwise, execution of the request can proceed as if the header wasn't present."
		{"10.4.3 true, and If-Match is not", "f", onFile, lines(`If: ([$F])`, `If-Match: "a"`), fails("If-Match"), ""},
		{"10.4.3 true, and If-None-Match is not", "f", onFile, lines(`If: ([$F])`, `If-None-Match: *`), found("If-None-Match"), ""},
		{"10.4.3 false, and If-Match is true", "f", onFile, lines(`If: (["a"])`, `If-Match: $F`), fails("If"), ""},
		{"10.4.3 both are true", "f", onFile, lines(`If: ([$F])`, `If-Match: $F`), ok, ""},
		{"10.4.3 both ends of a COPY or MOVE, both current", "f", ends, lines(`If: <$D/g> ([$G])`, `If-Match: $F`, `Destination: $D/g`), "204", ""},
		{"10.4.3 both ends, the Destination is another", "f", ends, lines(`If: <$D/g> (["a"])`, `If-Match: $F`, `Destination: $D/g`), fails("If"), ""},
		{"10.4.3 both ends, the source is another", "f", ends, lines(`If: <$D/g> ([$G])`, `If-Match: "a"`, `Destination: $D/g`), fails("If-Match"), ""},
		{"10.4.3 both ends, the Destination is gone", "f", ends, lines(`If: <$D/new> ([$G])`, `If-Match: $F`), fails("If"), ""},
		{"10.4.3 both ends by absolute URI", "f", ends, lines(`If: <http://$A$D/g> ([$G])`, `If-Match: $F`, `Destination: http://$A$D/g`), "204", ""},

		// §10.4.4: "Servers MUST use either the weak or the strong comparison function"
		{"10.4.4 the strong comparison", "f", onFile, lines(`If: ([W/$F])`), fails("If"), ""},
		{"10.4.4 the strong comparison, behind Not", "f", onFile, lines(`If: (Not [W/$F])`), ok, ""},
		// "Where there is an exact match between the state token in the If header and any state token on the identified
		// resource. A lock state token is considered to match if the resource is anywhere in the scope of the lock."
		{"10.4.4 the token of the resource's lock", "f", changes, lines(`If: (<$1>)`), ok, "f"},
		{"10.4.4 the token of another resource's lock", "f", onFile, lines(`If: (<$1>)`), fails("If"), "g"},
		{"10.4.4 a token of a lock that ended", "f", onFile, lines(`If: (<urn:uuid:00000000-0000-4000-8000-000000000000>)`), fails("If"), ""},
		{"10.4.4 a token of another scheme", "f", onFile, lines(`If: (<opaquelocktoken:00000000-0000-4000-8000-000000000000>)`), fails("If"), ""},
		{"10.4.4 a token must match exactly", "f", onFile, lines(`If: (<$1x>)`), fails("If"), "g"},
		{"10.4.4 in the scope of a lock above", "d/m", changes, lines(`If: (<$1>)`), ok, "d+"},
		{"10.4.4 the lock above by its own name", "d/m", changes, lines(`If: <$D/d/> (<$1>)`), ok, "d+"},
		{"10.4.4 the lock above by its own name, without a slash", "d/m", changes, lines(`If: <$D/d> (<$1>)`), ok, "d+"},
		{"10.4.4 not in the scope of a flat lock above", "d/m", "GET PUT PROPPATCH", lines(`If: (<$1>)`), fails("If"), "d"},
		{"10.4.4 what is not yet is in the scope too", "d/new", "PUT MKCOL", lines(`If: (<$1>)`), ok, "d+"},
		{"10.4.4 a lock below is not on the collection", "d", "GET PROPPATCH PROPFIND", lines(`If: (<$1>)`), fails("If"), "d/m"},
		// "Handling unmapped URLs: for both ETags and state tokens, treat as if the URL identified a resource that exists
		// but does not have the specified state."
		{"10.4.4 a tag of an unmapped URL", "none", onNothing, lines(`If: ([$F])`), fails("If"), ""},
		{"10.4.4 not a tag of an unmapped URL", "none", onNothing, lines(`If: (Not [$F])`), ok, ""},
		{"10.4.4 a token of an unmapped URL", "none", onNothing, lines(`If: (<urn:x>)`), fails("If"), ""},
		{"10.4.4 not a token of an unmapped URL", "none", onNothing, lines(`If: (Not <urn:x>)`), ok, ""},
		{"10.4.4 an unmapped URL that is tagged", "f", onFile, lines(`If: <$D/none> ([$F])`), fails("If"), ""},
		{"10.4.4 an unmapped URL that is tagged, behind Not", "f", onFile, lines(`If: <$D/none> (Not [$F])`), ok, ""},
		{"10.4.4 below an unmapped URL", "f", onFile, lines(`If: <$D/no/f> (Not [$F])`), ok, ""},
		{"10.4.4 below a file", "f", onFile, lines(`If: <$D/f/x> ([$F])`), fails("If"), ""},

		// §10.4.6 to §10.4.11, the examples. Their tags have spaces.
		{"10.4.6 No-tag production, the first list", "f", changes, lines(`If: (<$1> [$F]) (["I am another ETag"])`), ok, "f"},
		{"10.4.6 No-tag production, the second list", "f", changes, lines(`If: (<$1> ["I am an ETag"]) ([$F])`), ok, "f"},
		{"10.4.6 No-tag production, none", "f", changes, lines(`If: (<$1> ["I am an ETag"]) (["I am another ETag"])`), fails("If"), "f"},
		{"10.4.7 Not with No-tag production", "f", changes, lines(`If: (Not <urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2> <$1>)`), ok, "f"},
		{"10.4.7 Not with No-tag production, false", "f", changes, lines(`If: (Not <$1> <urn:uuid:58f202ac-22cf-11d1-b12d-002035b29092>)`), fails("If"), "f"},
		{"10.4.8 always true", "f", onFile, lines(`If: (<urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2>) (Not <DAV:no-lock>)`), ok, ""},
		{"10.4.8 always true, with the token of the lock", "f", changes, lines(`If: (<$1>) (Not <DAV:no-lock>)`), ok, "f"},
		{"10.4.8 always true does not open a lock", "f", changes, lines(`If: (Not <DAV:no-lock>)`), "423", "f"},
		{"10.4.8 always false", "f", onFile, lines(`If: (<DAV:no-lock>)`), fails("If"), ""},
		{"10.4.8 always false, of a locked one", "f", changes, lines(`If: (<$1> <DAV:no-lock>)`), fails("If"), "f"},
		{"10.4.9 Tagged list in COPY", "f", "COPY", lines(`If: <$D/f> (<urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2> [W/"A weak ETag"]) ([$F])`), ok, ""},
		{"10.4.9 Tagged list in COPY, false", "f", "COPY", lines(`If: <$D/f> (<urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2> [W/"A weak ETag"]) (["strong ETag"])`), fails("If"), ""},
		{"10.4.10 a lock of the collection", "d/m", "DELETE", lines(`If: <http://$A$D/d/> (<$1>)`), ok, "d"},
		{"10.4.10 a lock that the collection has not", "d/m", "DELETE", lines(`If: <http://$A$D/d/> (<urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2>)`), fails("If"), ""},
		{"10.4.11 a tag of an unmapped URL", "d/m", onFile, lines(`If: <$D/d/rfc2518.doc> (["4217"])`), fails("If"), ""},
		{"10.4.11 not the tag of an unmapped URL", "d/m", onFile, lines(`If: <$D/d/rfc2518.doc> (Not ["4217"])`), ok, ""},

		// §7: "If a lock token is not submitted …, the method MUST fail" with 423. §7.3, §7.4, §7.5, §9.6.1, §9.8.4,
		// §9.9.
		{"7.0 a locked file and no token", "f", changes, nil, "423", "f"},
		{"7.0 a locked file can be read", "f", "GET HEAD PROPFIND OPTIONS COPY", nil, ok, "f"},
		{"7.0 a shared lock and no token", "f", changes, nil, "423", "f~"},
		{"7.0 one of two shared tokens", "f", changes, lines(`If: (<$2>)`), ok, "f~ f~"},
		{"7.0 a tag does not open a lock", "f", changes, lines(`If-Match: $F`), "423", "f"},
		{"7.0 a false If is told before the lock", "f", changes, lines(`If: (["a"])`), fails("If"), "f"},
		{"7.0 the lock is told before a false If-Match", "f", changes, lines(`If-Match: "a"`), "423", "f"},
		{"7.0 a condition and the token", "f", changes, lines(`If-Match: $F`, `If: (<$1>)`), ok, "f"},
		{"7.0 a stale condition and the token", "f", changes, lines(`If-Match: "a"`, `If: (<$1>)`), fails("If-Match"), "f"},
		// §7.3: a locked empty resource "MUST NOT be converted into a collection", and otherwise is like any other.
		{"7.3 an empty locked resource can be read", "none", "GET HEAD PROPFIND OPTIONS COPY", nil, ok, "none"},
		{"7.3 an empty locked resource is locked", "none", "PUT DELETE MOVE PROPPATCH", nil, "423", "none"},
		{"7.3 an empty locked resource opens to its token", "none", "PUT DELETE MOVE PROPPATCH", lines(`If: (<$1>)`), ok, "none"},
		{"7.3 an empty locked resource is no collection", "none", "MKCOL", lines(`If: (<$1>)`), "405", "none"},
		{"7.3 an empty locked resource is there", "none", "PUT", lines(`If-None-Match: *`, `If: (<$1>)`), fails("If-None-Match"), "none"},
		{"7.4 a new member of a locked collection", "d/new", "PUT MKCOL LOCK", nil, "423", "d"},
		{"7.4 a new member with the token", "d/new", "PUT MKCOL LOCK", lines(`If: <$D/d> (<$1>)`), ok, "d"},
		{"7.4 a member that goes", "d/m", "DELETE MOVE", nil, "423", "d"},
		{"7.4 a member that stays", "d/m", "PUT PROPPATCH", nil, ok, "d"},
		{"7.4 a member of an infinitely locked collection", "d/m", changes, nil, "423", "d+"},
		{"7.5 a new name in a locked collection", "f", ends, lines(`Destination: $D/d/new`), "423", "d"},
		{"7.5 a new name in a locked collection with its token", "f", ends, lines(`Destination: $D/d/new`, `If: <$D/d> (<$1>)`), "201", "d"},
		{"7.5 a locked Destination", "f", ends, lines(`Destination: $D/g`), "423", "g"},
		{"7.5 a locked Destination with its token", "f", ends, lines(`Destination: $D/g`, `If: <$D/g> (<$1>)`), "204", "g"},
		{"7.5 a locked Destination with the source's token", "f", "MOVE", lines(`Destination: $D/g`, `If: (<$1>)`), "423", "f g"},
		{"9.6.1 a locked member of what is deleted", "d", "DELETE MOVE", nil, "207", "d/m"},
		{"9.6.1 a locked member with its token", "d", "DELETE MOVE", lines(`If: <$D/d/m> (<$1>)`), ok, "d/m"},
		{"9.10.2 a refresh with the token", "f", "REFRESH", lines(`If: (<$1>)`), ok, "f"},
		{"9.10.2 a refresh with another token", "f", "REFRESH", lines(`If: (<urn:x>)`), fails("If"), "f"},
		{"9.10.6 a refresh with a token that is not of this resource", "f", "REFRESH", lines(`If: (<$1>) (Not <DAV:no-lock>)`), "412", "g"},
		{"9.10.2 a refresh with the token in Lock-Token", "f", "REFRESH", lines(`Lock-Token: <$1>`), ok, "f"},
		{"12.1 without a conditional header there is no 412", "f", "REFRESH", lines(`Lock-Token: <$1>`), "409", "g"},
		{"9.10.2 a refresh with a true condition", "f", "REFRESH", lines(`If: (<$1>)`, `If-Match: $F`), ok, "f"},
		{"9.10.2 a refresh with a false condition", "f", "REFRESH", lines(`If: (<$1>)`, `If-Match: "a"`), fails("If-Match"), "f"},
		{"9.10.2 a refresh through a member", "d/m", "REFRESH", lines(`If: (<$1>)`), ok, "d+"},

		// §9.3: "If the Request-URI is already mapped to a resource, then the MKCOL MUST fail." "… all ancestors MUST
		// already exist, or the method MUST fail with a 409 (Conflict) status code." "If a server receives a MKCOL
		// request entity type it does not support or understand, it MUST respond with a 415 (Unsupported Media Type)
		// status code."
		{"9.3 MKCOL of nothing", "none", "MKCOL", nil, ok, ""},
		{"9.3 MKCOL of nothing, with a slash", "none/", "MKCOL", nil, ok, ""},
		{"9.3 MKCOL of a file", "f", "MKCOL", nil, "405", ""},
		{"9.3 MKCOL of a collection", "d/", "MKCOL", nil, "405", ""},
		{"9.3 MKCOL without a parent", "no/d", "MKCOL", nil, "409", ""},
		{"9.3 MKCOL below a file", "f/d", "MKCOL", nil, "409", ""},
		{"9.3 MKCOL with a body", "none", "BADCOL", nil, "415", ""},
		{"9.3 MKCOL with a body and a false condition", "none", "BADCOL", lines(`If-Match: "a"`), "415", ""},

		// §9.6.1: "The DELETE method on a collection MUST act as if a "Depth: infinity" header was used on it. A
		// client MUST NOT submit a Depth header with a DELETE on a collection with any value but infinity."
		{"9.6.1 DELETE of a collection", "d", "DELETE", nil, ok, ""},
		{"9.6.1 DELETE of a collection, to any depth", "d", "DELETE", lines(`Depth: infinity`), ok, ""},
		{"9.6.1 DELETE of a collection alone", "d", "DELETE", lines(`Depth: 0`), "400", ""},
		{"9.6.1 DELETE of a collection, one deep", "d", "DELETE", lines(`Depth: 1`), "400", ""},

		// §9.7.1: "A PUT that would result in the creation of a resource without an appropriately scoped parent
		// collection MUST fail with a 409 (Conflict)." §9.7.2: PUT of a collection.
		{"9.7.1 PUT without a parent", "no/f", "PUT", nil, "409", ""},
		{"9.7.1 PUT below a file", "f/x", "PUT", nil, "409", ""},
		{"9.7.2 PUT of a collection", "d", "PUT", nil, "405", ""},

		// §9.8.5 and §9.9.4: the statuses of COPY and MOVE. §9.8.3: "A COPY of "Depth: infinity" …", §9.9.2: "A client
		// MUST NOT submit a Depth header on a MOVE on a collection with any value but "infinity"."
		{"9.8.5 the Destination is new", "f", ends, nil, ok, ""},
		{"9.8.5 the Destination is there", "f", ends, lines(`Destination: $D/g`), "204", ""},
		{"9.8.5 the Destination is a collection that is there", "f", ends, lines(`Destination: $D/e`), "204", ""},
		{"9.8.5 source and Destination are the same", "f", ends, lines(`Destination: $D/f`), "403", ""},
		{"9.8.5 source and Destination are the same, as it is written else", "f", ends, lines(`Destination: http://$A$D/%66`), "403", ""},
		{"9.8.5 no parent of the Destination", "f", ends, lines(`Destination: $D/no/f`), "409", ""},
		{"9.8.5 the Destination is on another server", "f", ends, lines(`Destination: http://other.example/f`), "502", ""},
		{"9.8.5 nothing to copy, onto something", "none", ends, lines(`Destination: $D/g`), "404", ""},
		{"9.8.3 a collection alone", "d", "COPY", lines(`Depth: 0`), ok, ""},
		{"9.8.3 a collection with all that is in it", "d", ends, lines(`Depth: infinity`), ok, ""},
		{"9.8.3 no other depth of COPY", "d", "COPY", lines(`Depth: 1`), "400", ""},
		{"9.9.2 a collection is moved whole", "d", "MOVE", lines(`Depth: 0`), "400", ""},
		{"10.3 no Destination", "f", ends, lines(`Destination:`), "400", ""},
		{"10.3 two Destinations", "f", ends, lines(`Destination: $D/new`, `Destination: $D/new2`), "400", ""},
		{"10.6 neither T nor F", "f", ends, lines(`Overwrite: yes`), "400", ""},

		// §9.10: LOCK. "A successful lock request to an unmapped URL MUST result in the creation of a locked
		// (non-collection) resource with empty content." "Values other than 0 or infinity MUST NOT be used with the
		// Depth header on a LOCK method."
		{"9.10.4 LOCK of nothing", "none", "LOCK", nil, ok, ""},
		{"9.10.4 LOCK of nothing, without a parent", "no/f", "LOCK", nil, "409", ""},
		{"9.10.4 LOCK of nothing with a true condition", "none", "LOCK", lines(`If-None-Match: *`), ok, ""},
		{"9.10.3 LOCK one deep", "d", "LOCK", lines(`Depth: 1`), "400", ""},
		{"9.10.5 LOCK of what is locked", "f", "LOCK", nil, "423", "f"},
		{"9.10.5 LOCK of what is locked from above", "d/m", "LOCK", nil, "423", "d+"},
		{"9.10.5 LOCK of what is locked below", "d", "LOCK", nil, "207", "d/m"},
		{"9.10.5 a false If is told before the other lock", "f", "LOCK", lines(`If: (["a"])`), fails("If"), "f"},
		{"9.10.5 the other lock is told before a false If-Match", "f", "LOCK", lines(`If-Match: "a"`), "423", "f"},
		{"9.10.5 the token of the other lock does not help", "f", "LOCK", lines(`If: (<$1>)`), "423", "f"},
		{"9.10.2 no body and no token", "f", "REFRESH", nil, "400", "f"},

		// §9.11: UNLOCK. "… the 204 (No Content) status code"; §9.11.1: 400 without a token, 409 where the lock does
		// not exist or is not of the Request-URI.
		{"9.11 the token", "f", "UNLOCK", nil, ok, "f"},
		{"9.11 the token, from a member", "d/m", "UNLOCK", nil, ok, "d+"},
		{"9.11 a lock of another resource", "f", "UNLOCK", nil, "409", "g"},
		{"9.11 a lock of a member", "d", "UNLOCK", nil, "409", "d/m"},
		{"9.11 no such lock, whatever the condition", "f", "UNLOCK", lines(`If: (["a"])`), "409", "g"},

		// §10.6: "If a COPY or MOVE is not performed due to the value of the Overwrite header, the method MUST fail
		// with a 412 (Precondition Failed) status code. The server MUST do authorization checks before checking this
		// or any conditional header."
		{"10.6 F onto something", "f", ends, lines(`Overwrite: F`, `Destination: $D/g`), fails("Overwrite"), ""},
		{"10.6 f is F", "f", ends, lines(`Overwrite: f`, `Destination: $D/g`), fails("Overwrite"), ""},
		{"10.6 F onto a collection", "f", ends, lines(`Overwrite: F`, `Destination: $D/e`), fails("Overwrite"), ""},
		{"10.6 F onto nothing", "f", ends, lines(`Overwrite: F`), ok, ""},
		{"10.6 T onto something", "f", ends, lines(`Overwrite: T`, `Destination: $D/g`), "204", ""},
		{"10.6 absent is T", "f", ends, lines(`Destination: $D/g`), "204", ""},
		{"10.6 F is no reason to ignore If-Match", "f", ends, lines(`Overwrite: F`, `If-Match: "a"`), fails("If-Match"), ""},
		{"10.6 F and 404", "none", ends, lines(`Overwrite: F`, `Destination: $D/g`), "404", ""},
		{"10.6 F and 409", "f", ends, lines(`Overwrite: F`, `Destination: $D/no/f`), "409", ""},
	})
}
