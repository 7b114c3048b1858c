package precondition

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// RFC 4918 §10.4, one row per sentence that binds a server.
func TestIf(t *testing.T) {
	for _, r := range []row{
		// §10.4.1 and §10.4.3
		{"all lists fail: 412", "write", "f", lines(`If: (["a"]) (["b"])`), "412 If f"},
		{"one list is enough", "write", "f", lines(`If: (["a"]) (["f"])`), ""},
		{"one list is enough, the first", "write", "f", lines(`If: (["f"]) (["a"])`), ""},
		{"all conditions of a list must be true", "write", "f", lines(`If: (<urn:f> ["f"])`), ""},
		{"one false condition fails its list", "write", "f", lines(`If: (<urn:f> ["old"])`), "412 If f"},
		{"one false condition fails its list, the first", "write", "f", lines(`If: (["old"] <urn:f>)`), "412 If f"},
		{"Not reverses a false state", "write", "f", lines(`If: (Not ["old"])`), ""},
		{"Not reverses a true state", "write", "f", lines(`If: (Not ["f"])`), "412 If f"},
		{"Not reverses a token", "write", "g", lines(`If: (Not <urn:f>)`), ""},
		{"Not is one condition's", "write", "f", lines(`If: (Not <urn:x> ["f"])`), ""},
		{"not in lower case, without a space", "write", "f", lines(`If: (not<urn:x>nOt["old"])`), ""},
		{"it is about GET too", "read", "f", lines(`If: (["old"])`), "412 If f"},
		{"it is about other methods too", "if", "f", lines(`If: (<urn:x>)`), "412 If f"},

		// §10.4.2
		{"an untagged list is about the Request-URI", "write", "g", lines(`If: (["g"])`), ""},
		{"a tagged list is about its resource", "write", "g", lines(`If: </f> (["f"])`), ""},
		{"a tagged list by absolute URI", "write", "g", lines(`If: <http://here/f> (<urn:f>)`), ""},
		{"a tag goes for all lists up to the next", "write", "f", lines(`If: </f> (["a"]) (["b"]) </g> (["c"]) (["g"])`), ""},
		{"a tag does not go for the lists after the next", "write", "f", lines(`If: </f> (["a"]) </g> (["f"])`), "412 If g"},
		{"true of any resource is true", "write", "f", lines(`If: </f> (["f"]) </g> (["old"])`), ""},
		{"the resource that failed is named", "write", "f", lines(`If: </f> (["a"]) </g> (["b"])`), "412 If g"},
		{"the Request-URI needs no list", "write", "none", lines(`If: </g> (["g"])`), ""},
		{"another server is never true", "write", "f", lines(`If: <http://there/f> (["f"])`), "412 If f"},
		{"another server is not true behind Not", "write", "f", lines(`If: <http://there/f> (Not <DAV:no-lock>)`), "412 If f"},
		{"another server does not spoil the rest", "write", "f", lines(`If: <http://there/f> (["x"]) </f> (["f"])`), ""},
		{"another server is not the one that failed", "write", "f", lines(`If: </g> (["x"]) <http://there/f> (["x"])`), "412 If g"},
		{"white space is free", "write", "f", lines("If: \t(  <urn:f>\t[\"f\"] ) "), ""},
		{"white space is not needed", "write", "f", lines(`If: </g>(["x"])</f>(<urn:f>["f"])`), ""},
		{"several lines are one header", "write", "f", lines(`If: (["a"])`, `If: (["f"])`), ""},
		{"several tagged lines are one header", "write", "f", lines(`If: </f> (["a"])`, `If: </g> (["g"])`), ""},
		{"lines joined by a proxy", "write", "f", lines(`If: </f> (["a"]) , </g> (["g"]),`), ""},
		{"a bracket may stand in an entity tag", "write", "f", lines(`If: (["]"]) (["f"])`), ""},

		// §10.4.4
		{"tags are compared strongly", "write", "f", lines(`If: ([W/"f"])`), "412 If f"},
		{"a lock of the resource matches", "write", "f", lines(`If: (<urn:f>)`), ""},
		{"a lock of another resource does not", "write", "g", lines(`If: (<urn:f>)`), "412 If g"},
		{"a lock matches anywhere in its scope", "write", "d/m", lines(`If: (<urn:d>)`), ""},
		{"a lock matches where its scope has nothing yet", "write", "d/new", lines(`If: (<urn:d>)`), ""},
		{"a lock further down does not match", "write", "", lines(`If: (<urn:d>)`), "412 If "},
		{"tokens match exactly", "write", "f", lines(`If: (<URN:f>)`), "412 If f"},
		{"an unmapped URL has no tag", "write", "none", lines(`If: (["f"])`), "412 If none"},
		{"an unmapped URL has not the state", "write", "none", lines(`If: (Not ["f"] Not <urn:f>)`), ""},
		{"what cannot be shown has no tag", "write", "f", lines(`If: </reserved> (["f"])`), "412 If reserved"},
		{"what cannot be shown has not the state", "write", "f", lines(`If: </reserved> (Not ["f"])`), ""},
		{"a collection has no tag", "write", "d", lines(`If: (["d"])`), "412 If d"},

		// §10.4.6 to §10.4.9, the examples
		{"example 10.4.6", "write", "f", lines(`If: (<urn:f> ["I am an ETag"]) (["f"]) (["I am another ETag"])`), ""},
		{"example 10.4.7", "write", "f", lines(`If: (Not <urn:x> <urn:f>)`), ""},
		{"example 10.4.6: neither", "write", "f", lines(`If: (<urn:f> ["I am an ETag"]) (["I am another ETag"])`), "412 If f"},
		{"example 10.4.8: the unmatchable token", "write", "f", lines(`If: (<urn:x>) (Not <DAV:no-lock>)`), ""},
		{"example 10.4.8: no-lock is never there", "write", "f", lines(`If: (<DAV:no-lock>)`), "412 If f"},
		{"example 10.4.9: tagged, COPY", "write", "f", lines(`If: <http://here/f> (<urn:f> [W/"A weak ETag"]) (["f"])`), ""},
		{"example 10.4.10: a lock of the collection", "write", "d/m", lines(`If: <http://here/d/> (<urn:d>)`), ""},
		{"example 10.4.11: the tag of an unmapped URL", "write", "none", lines(`If: </none> (["4217"])`), "412 If none"},
		{"example 10.4.11: not the tag of an unmapped URL", "write", "none", lines(`If: </none> (Not ["4217"])`), ""},

		// unknown tags
		{"a tag decides", "write", "cold", lines(`If: (["x"])`), "hash"},
		{"a tag decides behind Not", "write", "cold", lines(`If: (Not ["x"])`), "hash"},
		{"a tag of another resource decides", "write", "f", lines(`If: </cold> (["x"])`), "hash"},
		{"a false condition needs no tag", "write", "cold", lines(`If: (<urn:x> ["x"])`), "412 If cold"},
		{"a false condition after it needs no tag", "write", "cold", lines(`If: (["x"] <urn:x>)`), "412 If cold"},
		{"a true condition does not decide", "write", "d/cold", lines(`If: (<urn:d> ["x"])`), "hash"},
		{"a true condition after it does not decide", "write", "d/cold", lines(`If: (["x"] <urn:d>)`), "hash"},
		{"a false list of another resource does not decide", "write", "f", lines(`If: </cold> (["x"]) </f> (["old"])`), "hash"},
		{"a true list needs no tag of another", "write", "f", lines(`If: </cold> (["x"]) </f> (["f"])`), ""},
		{"a true list needs no tag of another resource's", "write", "cold", lines(`If: (["x"]) (Not <DAV:no-lock>)`), ""},
		{"a false list does not decide", "write", "cold", lines(`If: (["x"]) (<urn:x>)`), "hash"},
		{"a weak tag needs no tag", "write", "cold", lines(`If: ([W/"x"])`), "412 If cold"},
	} {
		t.Run(r.name, r.run)
	}
}

func TestIfSyntax(t *testing.T) {
	for _, value := range []string{
		``, ` `, `,`, `f`, `"f"`, `*`, `()`, `( )`, `(`, `)`, `(<urn:x>`, `<urn:x>`, `</f>`, `</f> (<urn:x>) </g>`, `<> (<urn:x>)`,
		`</f>, (<urn:x>)`,                // a tag and its list belong together
		`(<urn:x>) </f> (<urn:x>)`,       // tagged after untagged
		`(<urn:x>) x`, `(<urn:x>) ["f"]`, // not a list
		`(<>)`, `(< urn:x>)`, `(<urn:x >)`, // "No LWS allowed"
		`(<x>)`, `(</f>)`, `(<1:x>)`, `(<:>)`, // a state token is an absolute URI
		`<f> (<urn:x>)`, `<../f> (<urn:x>)`, `<http://here/a b> (<urn:x>)`, `<http://here/a (<urn:x>)`,
		`(f)`, `([f])`, `(["f])`, `(["f")`, `([ "f"])`, `(["f" ])`, `([*])`, `([])`, `(["f"]`, `(["f", "g"])`, `([w/"f"])`,
		`(Not)`, `(Not Not <urn:x>)`, `(No <urn:x>)`, `(Nothing <urn:x>)`, `Not (<urn:x>)`, `((<urn:x>))`, `(<urn:x>, <urn:y>)`,
		strings.Repeat(`(<urn:x>)`, maxLists+1),
		strings.Repeat(`</f> (<urn:x>)`, maxLists+1),
		"(" + strings.Repeat(`<urn:x>`, maxTerms+1) + ")",
		strings.Repeat(`(["a"] <urn:x> Not <urn:x>)`, maxTerms/3) + `(["a"] <urn:x>)`,
		resources(maxResources+1, ""),
		resources(2, strings.Repeat("a", maxTagged/2)),
	} {
		c, err := Parse(headers("If: "+value), now, "f", resolve, Strict)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || c != nil {
			t.Errorf("Parse(If: %.60s) = %v, %v", value, c, err)
			continue
		}
		if syntax.Header != "If" || syntax.Offset < 0 || syntax.Offset > len(value) || syntax.Reason == "" || syntax.Error() == "" {
			t.Errorf("If: %.60s: %+v", value, *syntax)
		}
	}
	for _, value := range []string{
		strings.Repeat(`(<urn:x>)`, maxLists),
		strings.Repeat(`</f> (<urn:x>)`, maxLists),
		"(" + strings.Repeat(`<urn:x>`, maxTerms) + ")",
		resources(maxResources, ""),
		resources(1, strings.Repeat("a", maxTagged-10)) + strings.Repeat("</0"+strings.Repeat("a", maxTagged-10)+">(<urn:x>)", 3),
	} {
		if _, err := Parse(headers("If: "+value), now, "f", resolve, Strict); err != nil {
			t.Errorf("If: %.60s: %v", value, err)
		}
	}
}

// resources returns an If header about n resources, whose names all have one end.
func resources(n int, end string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "</%d%s> (<urn:x>) ", i, end)
	}
	return b.String()
}

// Each resource is found once, however often it is named: that may take a look.
func TestEachResourceIsResolvedOnce(t *testing.T) {
	asked := map[string]int{}
	count := func(ref string) (string, bool) { asked[ref]++; return resolve(ref) }
	value := strings.Repeat(`</f> (<urn:x>) </g> (<urn:y>) `, maxLists/2)
	if _, err := Parse(headers("If: "+value), now, "f", count, Strict); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 2 || asked["/f"] != 1 || asked["/g"] != 1 {
		t.Errorf("it was asked for %v", asked)
	}
}

// A header that names one resource many times costs one look at it.
func TestEachResourceIsLookedAtOnce(t *testing.T) {
	v := world()
	lists := strings.Repeat(`(["a"]) (<urn:x>) `, maxLists/4)
	c := parse(t, "f", "If: </f>"+lists+"</g>"+lists, `If-None-Match: *`)
	if got := answer(c.Write(v)); got != "412 If g" {
		t.Error(got)
	}
	if v.asked != 2 {
		t.Errorf("the View was asked %d times, want the states of two resources", v.asked)
	}
}

func FuzzIfHeader(f *testing.F) {
	for _, seed := range []string{
		`(<urn:x> ["f"]) (Not <DAV:no-lock>)`, `</f> (["f"]) (not [W/""]) <http://here/g>(<urn:y>)`, `(["a,b]"]),(<a:>)`, `(Not`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		header, err := parseIf(value)
		if err != nil {
			return
		}
		printed := printIf(header)
		again, err := parseIf(printed)
		if err != nil {
			t.Fatalf("%q was printed as %q: %v", value, printed, err)
		}
		if !reflect.DeepEqual(header, again) {
			t.Fatalf("%q was printed as %q and read as %v, want %v", value, printed, again, header)
		}
		// Evaluation ends, and agrees with itself.
		c := parse(t, "f", "If: "+value)
		if a, b := fmt.Sprint(c.Write(world())), fmt.Sprint(c.IfOnly(world())); a != b {
			t.Fatalf("%q: %s and %s", value, a, b)
		}
	})
}
