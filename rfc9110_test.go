package main

import "testing"

// TestRFC9110 is RFC 9110 §13 as it binds a server, sentence by sentence.
func TestRFC9110(t *testing.T) {
	runSentences(t, Config{}, []sentence{
		// §5.3: "the field value is the list of the values of the field lines, in order, separated by commas."
		{"5.3 several lines of If-Match are one list", "f", onFile, lines(`If-Match: "a"`, `If-Match: $F`), ok, ""},
		{"5.3 several lines of If-Match, none current", "f", onFile, lines(`If-Match: "a"`, `If-Match: "b"`), fails("If-Match"), ""},
		{"5.3 several lines of If-None-Match are one list", "f", onFile, lines(`If-None-Match: "a"`, `If-None-Match: $F`), found("If-None-Match"), ""},
		{"5.3 several lines of If-None-Match, none current", "f", onFile, lines(`If-None-Match: "a"`, `If-None-Match: "b"`), ok, ""},
		{"5.3 a tag is not split over two lines", "f", onFile, lines(`If-Match: "a`, `If-Match: b"`), fails("If-Match"), ""},
		{"5.1 field names are in any case", "f", onFile, lines(`iF-mATCH: "a"`), fails("If-Match"), ""},

		// §5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements."
		{"5.6.1.2 empty elements of If-Match are ignored", "f", onFile, lines(`If-Match: , "a",, ,$F,`), ok, ""},
		{"5.6.1.2 empty elements of If-None-Match are ignored", "f", onFile, lines(`If-None-Match: ,,"a",	, $F ,`), found("If-None-Match"), ""},
		{"5.6.1.2 empty elements beside * are ignored", "none", onNothing, lines(`If-None-Match: ,*,`), ok, ""},
		{"5.6.1.2 no white space is needed", "f", onFile, lines(`If-Match: "a",$F,"b"`), ok, ""},

		// §5.6.7: "A recipient that parses a timestamp value in an HTTP field MUST accept all three HTTP-date
		// formats."
		{"5.6.7 IMF-fixdate, true", "f", onFile, lines("If-Unmodified-Since: " + atWritten), ok, ""},
		{"5.6.7 IMF-fixdate, false", "f", onFile, lines("If-Unmodified-Since: " + earlier), fails("If-Unmodified-Since"), ""},
		{"5.6.7 rfc850-date, true", "f", onFile, lines("If-Unmodified-Since: Thursday, 02-Jan-20 03:04:05 GMT"), ok, ""},
		{"5.6.7 rfc850-date, false", "f", onFile, lines("If-Unmodified-Since: Thursday, 02-Jan-20 03:04:04 GMT"), fails("If-Unmodified-Since"), ""},
		{"5.6.7 asctime-date, true", "f", onFile, lines("If-Unmodified-Since: Thu Jan  2 03:04:05 2020"), ok, ""},
		{"5.6.7 asctime-date, false", "f", onFile, lines("If-Unmodified-Since: Thu Jan  2 03:04:04 2020"), fails("If-Unmodified-Since"), ""},
		{"5.6.7 IMF-fixdate, If-Modified-Since", "f", reads, lines("If-Modified-Since: " + atWritten), found("If-Modified-Since"), ""},
		{"5.6.7 rfc850-date, If-Modified-Since", "f", reads, lines("If-Modified-Since: Thursday, 02-Jan-20 03:04:05 GMT"), found("If-Modified-Since"), ""},
		{"5.6.7 asctime-date, If-Modified-Since", "f", reads, lines("If-Modified-Since: Thu Jan  2 03:04:05 2020"), found("If-Modified-Since"), ""},
		// "Recipients of a timestamp value in rfc850-date format, which uses a two-digit year, MUST interpret a
		// timestamp that appears to be more than 50 years in the future as representing the most recent year in the
		// past that had the same last two digits."
		{"5.6.7 rfc850-date of the last century", "f", onFile, lines("If-Unmodified-Since: Sunday, 06-Nov-94 08:49:37 GMT"), fails("If-Unmodified-Since"), ""},
		{"5.6.7 rfc850-date less than 50 years ahead", "f", onFile, lines("If-Unmodified-Since: Thursday, 06-Nov-70 08:49:37 GMT"), ok, ""},

		// §8.8.3: entity-tag = [ weak ] opaque-tag; opaque-tag = DQUOTE *etagc DQUOTE; etagc = %x21 / %x23-7E /
		// obs-text
		{"8.8.3 a comma belongs to a tag", "f", onFile, lines(`If-Match: "a,b", $F`), ok, ""},
		{"8.8.3 a tag with a comma is one", "f", onFile, lines(`If-None-Match: "a,*,b"`), ok, ""},
		{"8.8.3 obs-text belongs to a tag", "f", onFile, lines("If-Match: \"\x80\xff\xc3\xbc\", $F"), ok, ""},
		{"8.8.3 obs-text in If-None-Match", "f", onFile, lines("If-None-Match: \"\xfc\", $F"), found("If-None-Match"), ""},
		{"8.8.3 a backslash is a character like any other", "f", onFile, lines(`If-Match: "\", $F`), ok, ""},
		{"8.8.3 the empty tag is one", "f", onFile, lines(`If-Match: "", $F`), ok, ""},
		{"8.8.3 the empty tag matches nothing", "f", onFile, lines(`If-Match: ""`), fails("If-Match"), ""},
		{"8.8.3 a tag in quotes that is * is a tag", "f", onFile, lines(`If-Match: "*"`), fails("If-Match"), ""},
		{"8.8.3 a tag in quotes that is *, If-None-Match", "f", onFile, lines(`If-None-Match: "*"`), ok, ""},
		{"8.8.3 W/ is case-sensitive", "f", onFile, lines(`If-Match: w/$F`), fails("If-Match"), ""},
		{"8.8.3 W/ is case-sensitive, If-None-Match", "f", onFile, lines(`If-None-Match: w/$F`), ok, ""},

		// §8.8.3.2, strong and weak comparison
		{"8.8.3.2 strong comparison: W/1 and 1", "f", onFile, lines(`If-Match: W/$F`), fails("If-Match"), ""},
		{"8.8.3.2 strong comparison: 1 and 1", "f", onFile, lines(`If-Match: $F`), ok, ""},
		{"8.8.3.2 weak comparison: W/1 and 1", "f", onFile, lines(`If-None-Match: W/$F`), found("If-None-Match"), ""},
		{"8.8.3.2 weak comparison: 1 and 1", "f", onFile, lines(`If-None-Match: $F`), found("If-None-Match"), ""},
		{"8.8.3.2 weak comparison: W/1 and 2", "f", onFile, lines(`If-None-Match: W/$G`), ok, ""},
		{"8.8.3.2 a weak tag does not spoil the strong one beside it", "f", onFile, lines(`If-Match: W/$F, $F`), ok, ""},
		{"8.8.3.2 character by character", "f", onFile, lines(`If-Match: "x$F"`), fails("If-Match"), ""},

		// §13.1.1 If-Match: "If the field value is "*", the condition is true if the origin server has a current
		// representation for the target resource."
		{"13.1.1 * is true of a file", "f", onFile, lines(`If-Match: *`), ok, ""},
		{"13.1.1 * is true of a collection", "d", onCollection, lines(`If-Match: *`), ok, ""},
		{"13.1.1 * is false of nothing", "none", onNothing, lines(`If-Match: *`), fails("If-Match"), ""},
		{"13.1.1 * may have space around", "f", onFile, lines("If-Match: \t* "), ok, ""},
		{"13.1.1 * twice is *", "f", onFile, lines(`If-Match: *`, `If-Match: *`), ok, ""},
		// "If the field value is a list of entity tags, the condition is true if any of the listed tags match the entity
		// tag of the selected representation. Otherwise, the condition is false."
		{"13.1.1 a list with the current tag first", "f", onFile, lines(`If-Match: $F, "a"`), ok, ""},
		{"13.1.1 a list with the current tag last", "f", onFile, lines(`If-Match: "a", $G, $F`), ok, ""},
		{"13.1.1 the tag of another file", "f", onFile, lines(`If-Match: $G`), fails("If-Match"), ""},
		{"13.1.1 a list of other tags", "f", onFile, lines(`If-Match: "a", "b", $G`), fails("If-Match"), ""},
		{"13.1.1 a tag is false of nothing", "none", onNothing, lines(`If-Match: $F`), fails("If-Match"), ""},
		{"13.1.1 a tag is false of a collection", "d", onCollection, lines(`If-Match: $F`), fails("If-Match"), ""},
		{"13.1.1 an empty value is false", "f", onFile, lines(`If-Match:`), fails("If-Match"), ""},
		{"13.1.1 an empty value is false of nothing", "none", onNothing, lines(`If-Match:`), fails("If-Match"), ""},
		{"13.1.1 an empty value is false of a collection", "d", onCollection, lines(`If-Match:`), fails("If-Match"), ""},
		{"13.1.1 a list of nothing is false", "f", onFile, lines(`If-Match: , ,`), fails("If-Match"), ""},
		// What is none of both is closed: nothing says which version is meant.
		{"13.1.1 malformed: a word", "f", onFile, lines(`If-Match: abc`), fails("If-Match"), ""},
		{"13.1.1 malformed: an open quote", "f", onFile, lines(`If-Match: "abc`), fails("If-Match"), ""},
		{"13.1.1 malformed: single quotes", "f", onFile, lines(`If-Match: 'abc'`), fails("If-Match"), ""},
		{"13.1.1 malformed: a word after the current tag", "f", onFile, lines(`If-Match: $F, abc`), fails("If-Match"), ""},
		{"13.1.1 malformed: a word before the current tag", "f", onFile, lines(`If-Match: abc, $F`), fails("If-Match"), ""},
		{"13.1.1 malformed: no comma", "f", onFile, lines(`If-Match: $F $G`), fails("If-Match"), ""},
		{"13.1.1 malformed: a semicolon", "f", onFile, lines(`If-Match: $F; $G`), fails("If-Match"), ""},
		{"13.1.1 malformed: a space in a tag", "f", onFile, lines(`If-Match: "a b", $F`), fails("If-Match"), ""},
		{"13.1.1 malformed: * beside the current tag", "f", onFile, lines(`If-Match: *, $F`), fails("If-Match"), ""},
		{"13.1.1 malformed: * on a line of its own beside a tag", "f", onFile, lines(`If-Match: $F`, `If-Match: *`), fails("If-Match"), ""},
		{"13.1.1 malformed: ** ", "f", onFile, lines(`If-Match: **`), fails("If-Match"), ""},
		{"13.1.1 malformed: W/ twice", "f", onFile, lines(`If-Match: W/W/$F`), fails("If-Match"), ""},
		{"13.1.1 malformed: W/ and *", "f", onFile, lines(`If-Match: W/*`), fails("If-Match"), ""},
		{"13.1.1 malformed, of nothing", "none", onNothing, lines(`If-Match: abc`), fails("If-Match"), ""},

		// §13.1.2 If-None-Match: "If the field value is "*", the condition is false if the origin server has a current
		// representation for the target resource."
		{"13.1.2 * is false of a file", "f", onFile, lines(`If-None-Match: *`), found("If-None-Match"), ""},
		{"13.1.2 * is false of a collection", "d", onCollection, lines(`If-None-Match: *`), found("If-None-Match"), ""},
		{"13.1.2 * is true of nothing", "none", onNothing, lines(`If-None-Match: *`), ok, ""},
		{"13.1.2 * twice is *", "f", onFile, lines(`If-None-Match: *`, `If-None-Match: *`), found("If-None-Match"), ""},
		{"13.1.2 * is not weakened by a tag beside it", "f", writes, lines(`If-None-Match: *`, `If-None-Match: "a"`), fails("If-None-Match"), ""},
		// "If the field value is a list of entity tags, the condition is false if one of the listed tags matches the
		// entity tag of the selected representation. Otherwise, the condition is true."
		{"13.1.2 a list with the current tag", "f", onFile, lines(`If-None-Match: "a", $F, "b"`), found("If-None-Match"), ""},
		{"13.1.2 a list of other tags", "f", onFile, lines(`If-None-Match: "a", $G`), ok, ""},
		{"13.1.2 a list is true of nothing", "none", onNothing, lines(`If-None-Match: "a", $F`), ok, ""},
		{"13.1.2 a list is true of a collection", "d", onCollection, lines(`If-None-Match: "a", $F`), ok, ""},
		{"13.1.2 empty matches nothing", "f", onFile, lines(`If-None-Match:`), ok, ""},
		{"13.1.2 malformed matches nothing", "f", onFile, lines(`If-None-Match: JoplinIgnore-123`), ok, ""},
		{"13.1.2 malformed after the current tag matches nothing", "f", onFile, lines(`If-None-Match: $F, x`), ok, ""},
		{"13.1.2 malformed matches nothing, of a collection", "d", onCollection, lines(`If-None-Match: JoplinIgnore-123`), ok, ""},
		{"13.1.2 malformed matches nothing, of nothing", "none", onNothing, lines(`If-None-Match: JoplinIgnore-123`), ok, ""},

		// §13.1.3 If-Modified-Since: "If the selected representation's last modification date is earlier or equal to
		// the date provided in the field value, the condition is false. Otherwise, the condition is true."
		{"13.1.3 equal is false", "f", reads, lines("If-Modified-Since: " + atWritten), found("If-Modified-Since"), ""},
		{"13.1.3 later is false", "f", reads, lines("If-Modified-Since: " + later), found("If-Modified-Since"), ""},
		{"13.1.3 earlier is true", "f", reads, lines("If-Modified-Since: " + earlier), ok, ""},
		// "A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match header field".
		{"13.1.3 ignored beside If-None-Match", "f", reads, lines("If-Modified-Since: "+atWritten, `If-None-Match: "a"`), ok, ""},
		{"13.1.3 ignored beside a malformed If-None-Match", "f", reads, lines("If-Modified-Since: "+atWritten, `If-None-Match: a`), ok, ""},
		{"13.1.3 ignored beside an empty If-None-Match", "f", reads, lines("If-Modified-Since: "+atWritten, `If-None-Match:`), ok, ""},
		{"13.1.3 not needed beside If-None-Match", "f", reads, lines("If-Modified-Since: "+earlier, `If-None-Match: $F`), found("If-None-Match"), ""},
		// "A recipient MUST ignore the If-Modified-Since header field if the received field value is not a valid
		// HTTP-date, the field value has more than one member, or if the request method is neither GET nor HEAD."
		{"13.1.3 ignored where it is no date", "f", reads, lines("If-Modified-Since: 2100-01-01T00:00:00Z"), ok, ""},
		{"13.1.3 ignored where it is empty", "f", reads, lines("If-Modified-Since:"), ok, ""},
		{"13.1.3 ignored where it is a number", "f", reads, lines("If-Modified-Since: 4102444800"), ok, ""},
		{"13.1.3 ignored where the zone is another", "f", reads, lines("If-Modified-Since: Fri, 01 Jan 2100 00:00:00 +0000"), ok, ""},
		{"13.1.3 ignored where the day does not exist", "f", reads, lines("If-Modified-Since: Wed, 30 Feb 2100 00:00:00 GMT"), ok, ""},
		{"13.1.3 ignored with two members", "f", reads, lines("If-Modified-Since: "+later, "If-Modified-Since: "+later), ok, ""},
		{"13.1.3 ignored with two members on a line", "f", reads, lines("If-Modified-Since: " + later + ", " + later), ok, ""},
		{"13.1.3 ignored by other methods", "f", writes, lines("If-Modified-Since: " + later), ok, ""},
		{"13.1.3 ignored by methods that create", "none", onNothing, lines("If-Modified-Since: " + later), ok, ""},
		// "A recipient MUST ignore the If-Modified-Since header field if the resource does not have a modification
		// date available." A listing of a collection has none.
		{"13.1.3 ignored where there is no date", "d", onCollection, lines("If-Modified-Since: " + later), ok, ""},

		// §13.1.4 If-Unmodified-Since: "If the selected representation's last modification date is earlier than or
		// equal to the date provided in the field value, the condition is true. Otherwise, the condition is false."
		{"13.1.4 equal is true", "f", onFile, lines("If-Unmodified-Since: " + atWritten), ok, ""},
		{"13.1.4 later is true", "f", onFile, lines("If-Unmodified-Since: " + later), ok, ""},
		{"13.1.4 earlier is false", "f", onFile, lines("If-Unmodified-Since: " + earlier), fails("If-Unmodified-Since"), ""},
		// No date is a validator of a collection, as no tag is: what is in it changes without it.
		{"13.1.4 false of a collection", "d", onCollection, lines("If-Unmodified-Since: " + later), fails("If-Unmodified-Since"), ""},
		// "A recipient MUST ignore If-Unmodified-Since if the request contains an If-Match header field".
		{"13.1.4 ignored beside If-Match", "f", onFile, lines("If-Unmodified-Since: "+earlier, `If-Match: $F`), ok, ""},
		{"13.1.4 ignored beside If-Match: *", "f", onFile, lines("If-Unmodified-Since: "+earlier, `If-Match: *`), ok, ""},
		{"13.1.4 does not help a false If-Match", "f", onFile, lines("If-Unmodified-Since: "+later, `If-Match: "a"`), fails("If-Match"), ""},
		{"13.1.4 does not help a malformed If-Match", "f", onFile, lines("If-Unmodified-Since: "+later, `If-Match: a`), fails("If-Match"), ""},
		{"13.1.4 does not help an empty If-Match", "f", onFile, lines("If-Unmodified-Since: "+later, `If-Match:`), fails("If-Match"), ""},
		// "A recipient MUST ignore the If-Unmodified-Since header field if the received field value is not a valid
		// HTTP-date (including when the field value appears to be a list of dates)."
		{"13.1.4 ignored where it is no date", "f", onFile, lines("If-Unmodified-Since: yesterday"), ok, ""},
		{"13.1.4 ignored where it is empty", "f", onFile, lines("If-Unmodified-Since:"), ok, ""},
		{"13.1.4 ignored where it is RFC 3339", "f", onFile, lines("If-Unmodified-Since: 2019-01-01T00:00:00Z"), ok, ""},
		{"13.1.4 ignored where the hour does not exist", "f", onFile, lines("If-Unmodified-Since: Tue, 01 Jan 2019 25:00:00 GMT"), ok, ""},
		{"13.1.4 ignored where it is a list", "f", onFile, lines("If-Unmodified-Since: " + earlier + ", " + earlier), ok, ""},
		{"13.1.4 ignored where it is two lines", "f", onFile, lines("If-Unmodified-Since: "+earlier, "If-Unmodified-Since: "+earlier), ok, ""},
		{"13.1.4 an invalid one is ignored where there is nothing", "none", onNothing, lines("If-Unmodified-Since: yesterday"), ok, ""},

		// §13.2.1: "a server MUST ignore all received preconditions if its response to the same request without those
		// conditions, prior to processing the request content, would have been a status code other than a 2xx
		// (Successful) or 412 (Precondition Failed)."
		{"13.2.1 404: If-Match", "none", "GET HEAD DELETE COPY MOVE PROPPATCH", lines(`If-Match: "a"`), "404", ""},
		{"13.2.1 404: If-Match: *", "none", "GET HEAD DELETE COPY MOVE PROPPATCH", lines(`If-Match: *`), "404", ""},
		{"13.2.1 404: a malformed If-Match", "none", "GET HEAD DELETE COPY MOVE PROPPATCH", lines(`If-Match: a`), "404", ""},
		{"13.2.1 404: If-None-Match", "none", "GET HEAD DELETE COPY MOVE PROPPATCH", lines(`If-None-Match: *`), "404", ""},
		{"13.2.1 404: If-Unmodified-Since", "none", "GET HEAD DELETE COPY MOVE PROPPATCH", lines("If-Unmodified-Since: " + earlier), "404", ""},
		{"13.2.1 404: If-Modified-Since", "none", "GET HEAD DELETE COPY MOVE PROPPATCH", lines("If-Modified-Since: " + later), "404", ""},
		{"13.2.1 404: If", "none", "GET HEAD DELETE COPY MOVE PROPPATCH PROPFIND", lines(`If: (["a"])`), "404", ""},
		{"13.2.1 404: a file with a slash", "f/", "GET HEAD DELETE COPY MOVE PROPPATCH", lines(`If-Match: "a"`), "404", ""},
		{"13.2.1 404: below a file", "f/x", "GET HEAD DELETE COPY MOVE PROPPATCH", lines(`If-Match: "a"`), "404", ""},
		{"13.2.1 405: PUT of a collection", "d", "PUT", lines(`If-Match: "a"`), "405", ""},
		{"13.2.1 405: PUT of a collection with a slash", "d/", "PUT", lines(`If-None-Match: *`), "405", ""},
		{"13.2.1 405: PUT of nothing with a slash", "none/", "PUT", lines(`If-Match: "a"`), "405", ""},
		{"13.2.1 405: MKCOL of a file", "f", "MKCOL", lines(`If-Match: "a"`), "405", ""},
		{"13.2.1 405: MKCOL of a file, If-None-Match", "f", "MKCOL", lines(`If-None-Match: *`), "405", ""},
		{"13.2.1 405: MKCOL of a collection", "d", "MKCOL", lines(`If-None-Match: *`), "405", ""},
		{"13.2.1 405: MKCOL of a collection, If", "d", "MKCOL", lines(`If: (["a"])`), "405", ""},
		{"13.2.1 405: a method that is not known", "f", "POST PATCH TRACE", lines(`If-Match: "a"`), "405", ""},
		{"13.2.1 409: no parent", "no/f", "PUT MKCOL LOCK", lines(`If-Match: "a"`), "409", ""},
		{"13.2.1 409: no parent, If-None-Match", "no/f", "PUT MKCOL LOCK", lines(`If-None-Match: "a"`), "409", ""},
		{"13.2.1 409: the parent is a file", "f/x", "PUT MKCOL LOCK", lines(`If-Match: "a"`), "409", ""},
		{"13.2.1 409: no parent of the Destination", "f", "COPY MOVE", lines(`If-Match: "a"`, `Destination: $D/no/f`), "409", ""},
		{"13.2.1 403: onto itself", "f", "COPY MOVE", lines(`If-Match: "a"`, `Destination: $D/f`), "403", ""},
		{"13.2.1 403: into itself", "d", "COPY MOVE", lines(`If-Match: "a"`, `Destination: $D/d/x`), "403", ""},
		{"13.2.1 502: onto another server", "f", "COPY MOVE", lines(`If-Match: "a"`, `Destination: http://other.example/f`), "502", ""},
		{"13.2.1 400: a bad Destination", "f", "COPY MOVE", lines(`If-Match: "a"`, `Destination:`), "400", ""},
		{"13.2.1 400: a bad Overwrite", "f", "COPY MOVE", lines(`If-Match: "a"`, `Overwrite: maybe`), "400", ""},
		{"13.2.1 400: a bad Depth", "f", "COPY DELETE LOCK", lines(`If-Match: "a"`, `Depth: many`), "400", ""},
		{"13.2.1 400: not the whole collection", "d", "DELETE MOVE", lines(`If-Match: "a"`, `Depth: 0`), "400", ""},
		{"13.2.1 400: a part of a file", "f", "PUT", lines(`If-Match: "a"`, `Content-Range: bytes 0-2/10`), "400", ""},
		{"13.2.1 415: a coding", "f", "PUT", lines(`If-Match: "a"`, `Content-Encoding: gzip`), "415", ""},
		{"13.2.1 423: If-Match", "f", "PUT DELETE MOVE PROPPATCH LOCK BADPATCH BADLOCK", lines(`If-Match: "a"`), "423", "f"},
		{"13.2.1 423: a malformed If-Match", "f", "PUT DELETE MOVE PROPPATCH LOCK", lines(`If-Match: a`), "423", "f"},
		{"13.2.1 423: If-None-Match", "f", "PUT DELETE MOVE PROPPATCH LOCK", lines(`If-None-Match: *`), "423", "f"},
		{"13.2.1 423: If-Unmodified-Since", "f", "PUT DELETE MOVE PROPPATCH LOCK", lines("If-Unmodified-Since: " + earlier), "423", "f"},
		{"13.2.1 423: a true If-Match", "f", "PUT DELETE MOVE PROPPATCH LOCK", lines(`If-Match: $F`), "423", "f"},
		{"13.2.1 423: a lock of the Destination", "f", "COPY MOVE", lines(`If-Match: "a"`, `Destination: $D/g`), "423", "g"},
		{"13.2.1 423: a lock of the collection", "d/new", "PUT MKCOL LOCK", lines(`If-Match: "a"`), "423", "d"},
		{"13.2.1 423: a member that goes", "d/m", "DELETE MOVE", lines(`If-Match: "a"`), "423", "d"},
		{"13.2.1 423 of a member", "d", "DELETE MOVE", lines(`If-Match: "a"`), "207", "d/m"},
		{"13.2.1 409: no such lock", "f", "REFRESH", lines(`If-Match: "a"`, `Lock-Token: <urn:x>`), "409", ""},
		{"13.2.1 with its token, 412", "f", "PUT DELETE MOVE PROPPATCH", lines(`If-Match: "a"`, `If: (<$1>)`), fails("If-Match"), "f"},
		{"13.2.1 a false If comes first", "f", "PUT DELETE MOVE PROPPATCH LOCK", lines(`If: (["a"])`), fails("If"), "f"},
		{"13.2.1 a false If of another resource too", "f", "PUT DELETE MOVE PROPPATCH LOCK", lines(`If: <$D/g> (["a"])`, `If-Match: $F`), fails("If"), "f"},
		{"13.2.1 417: an expectation", "f", "GET PUT DELETE", lines(`If-Match: "a"`, `Expect: the-best`), "417", ""},
		// "A server MUST ignore the conditional request header fields defined by this specification when received with a
		// request method that does not involve the selection or modification of a selected representation".
		{"13.2.1 If-Match is not for OPTIONS, PROPFIND, UNLOCK", "f", elsewhere, lines(`If-Match: "a"`), ok, ""},
		{"13.2.1 a malformed If-Match neither", "f", elsewhere, lines(`If-Match: a`), ok, ""},
		{"13.2.1 If-None-Match is not for OPTIONS, PROPFIND, UNLOCK", "f", elsewhere, lines(`If-None-Match: *`), ok, ""},
		{"13.2.1 If-None-Match with the current tag neither", "f", elsewhere, lines(`If-None-Match: $F`), ok, ""},
		{"13.2.1 If-None-Match on a collection neither", "d", elsewhere, lines(`If-None-Match: *`), ok, ""},
		{"13.2.1 If-Modified-Since is not for OPTIONS, PROPFIND, UNLOCK", "f", elsewhere, lines("If-Modified-Since: " + later), ok, ""},
		{"13.2.1 If-Unmodified-Since is not for OPTIONS, PROPFIND, UNLOCK", "f", elsewhere, lines("If-Unmodified-Since: " + earlier), ok, ""},
		// "… just before it would process the request content": so before that can be found wrong.
		{"13.2.1 before the content is read", "f", "BADPATCH BADLOCK", lines(`If-Match: "a"`), fails("If-Match"), ""},
		{"13.2.1 before the length is found wrong", "f", "PUT", lines(`If-Match: "a"`, `X-Expected-Entity-Length: 99`, `Transfer-Encoding: chunked`), fails("If-Match"), ""},

		// §13.2.2: the order
		{"13.2.2 step 1 false: 412, whatever follows", "f", onFile, lines(`If-Match: "a"`, `If-None-Match: $F`, "If-Modified-Since: "+later), fails("If-Match"), ""},
		{"13.2.2 step 1 true, to step 3, false", "f", onFile, lines(`If-Match: $F`, `If-None-Match: $F`), found("If-None-Match"), ""},
		{"13.2.2 step 1 true, to step 3, *", "f", onFile, lines(`If-Match: *`, `If-None-Match: *`), found("If-None-Match"), ""},
		{"13.2.2 step 1 true, to step 3, true", "f", onFile, lines(`If-Match: $F`, `If-None-Match: "a"`), ok, ""},
		{"13.2.2 step 1 true, to step 4, false", "f", reads, lines(`If-Match: $F`, "If-Modified-Since: "+later), found("If-Modified-Since"), ""},
		{"13.2.2 step 1 true, to step 4, on a write", "f", writes, lines(`If-Match: $F`, "If-Modified-Since: "+later), ok, ""},
		{"13.2.2 step 2 false: 412, whatever follows", "f", onFile, lines("If-Unmodified-Since: "+earlier, `If-None-Match: $F`), fails("If-Unmodified-Since"), ""},
		{"13.2.2 step 2 true, to step 3, false", "f", onFile, lines("If-Unmodified-Since: "+atWritten, `If-None-Match: $F`), found("If-None-Match"), ""},
		{"13.2.2 step 2 true, to step 3, true", "f", onFile, lines("If-Unmodified-Since: "+atWritten, `If-None-Match: "a"`), ok, ""},
		{"13.2.2 step 2 true, to step 4, false", "f", reads, lines("If-Unmodified-Since: "+atWritten, "If-Modified-Since: "+atWritten), found("If-Modified-Since"), ""},
		{"13.2.2 step 3 true, step 4 is skipped", "f", reads, lines(`If-None-Match: "a"`, "If-Modified-Since: "+later), ok, ""},
		{"13.2.2 step 5: If-Range is true, the Range is answered", "f", "PARTIAL", lines(`Range: bytes=0-0`, `If-Range: $F`), "206", ""},
		{"13.2.2 step 5: If-Range is false, the Range is ignored", "f", "GET", lines(`Range: bytes=0-0`, `If-Range: "a"`), ok, ""},
		{"13.2.2 step 5: after step 1", "f", "GET", lines(`Range: bytes=0-0`, `If-Range: $F`, `If-Match: "a"`), fails("If-Match"), ""},
		{"13.2.2 step 5: after step 3", "f", "GET", lines(`Range: bytes=0-0`, `If-Range: $F`, `If-None-Match: $F`), found("If-None-Match"), ""},
		{"13.2.2 a Range does not hide a false condition", "f", "GET", lines(`Range: bytes=99-`, `If-Match: "a"`), fails("If-Match"), ""},
		{"13.2.2 a Range does not hide that nothing is modified", "f", "GET", lines(`Range: bytes=99-`, `If-None-Match: $F`), found("If-None-Match"), ""},

		// §13.1.5 If-Range
		{"13.1.5 ignored without Range", "f", "GET HEAD", lines(`If-Range: "a"`), ok, ""},
		{"13.1.5 ignored by other methods", "f", writes, lines(`If-Range: "a"`, `Range: bytes=0-0`), ok, ""},
		{"13.1.5 ignored with a Range of a collection", "d", "GET HEAD", lines(`If-Range: "a"`, `Range: bytes=0-0`), ok, ""},
		{"13.1.5 strong comparison: a weak tag is false", "f", "GET", lines(`If-Range: W/$F`, `Range: bytes=0-0`), ok, ""},
		{"13.1.5 a list is not a validator", "f", "GET", lines(`If-Range: $F, $F`, `Range: bytes=0-0`), ok, ""},
		{"13.1.5 * is not a validator", "f", "GET", lines(`If-Range: *`, `Range: bytes=0-0`), ok, ""},
		{"13.1.5 the exact date is true", "f", "PARTIAL", lines(`If-Range: `+atWritten, `Range: bytes=0-0`), "206", ""},
		{"13.1.5 a later date is false", "f", "GET", lines(`If-Range: `+later, `Range: bytes=0-0`), ok, ""},
		{"13.1.5 an earlier date is false", "f", "GET", lines(`If-Range: `+earlier, `Range: bytes=0-0`), ok, ""},
	})
}
