package davxml

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func n(space, local string) xml.Name { return xml.Name{Space: space, Local: local} }

func TestReadPropfind(t *testing.T) {
	all := Propfind{AllProp: true}
	for _, test := range []struct {
		name, body string
		want       Propfind
	}{
		{"no body is allprop", "", all},
		{"white space is no body", " \r\n\t", all},
		{"a byte order mark is no body", "\uFEFF", all},
		{"allprop", `<propfind xmlns="DAV:"><allprop/></propfind>`, all},
		{"allprop with include", `<D:propfind xmlns:D="DAV:"><D:allprop/><D:include><D:a/><x xmlns="u"/></D:include></D:propfind>`,
			Propfind{AllProp: true, Include: []xml.Name{n("DAV:", "a"), n("u", "x")}}},
		{"include before allprop", `<propfind xmlns="DAV:"><include><a/></include><allprop/></propfind>`,
			Propfind{AllProp: true, Include: []xml.Name{n("DAV:", "a")}}},
		{"include out of place is ignored", `<propfind xmlns="DAV:"><include><a/></include><propname/></propfind>`,
			Propfind{PropName: true}},
		{"propname", "<?xml version='1.0'?><propfind xmlns='DAV:'><propname></propname></propfind>", Propfind{PropName: true}},
		{"prop keeps the order", `<propfind xmlns="DAV:"><prop><b/><a/><n xmlns=""/><xml:x/></prop></propfind>`,
			Propfind{Props: []xml.Name{n("DAV:", "b"), n("DAV:", "a"), n("", "n"), n(xmlSpace, "x")}}},
		{"a property is asked for once", `<propfind xmlns="DAV:" xmlns:D="DAV:"><prop><a/><b/><D:a/></prop></propfind>`,
			Propfind{Props: []xml.Name{n("DAV:", "a"), n("DAV:", "b")}}},
		{"prop can be empty", `<propfind xmlns="DAV:"><prop/></propfind>`, Propfind{}},
		{"what is unknown is ignored", // RFC 4918 §17, appendix A.1
			`<propfind xmlns="DAV:" x="y"><E:leave-out xmlns:E="E:"><prop/></E:leave-out>text<propname/><?pi?><!-- c --></propfind>`,
			Propfind{PropName: true}},
		{"what is inside a name is ignored", `<propfind xmlns="DAV:"><prop><a>1<b/></a></prop></propfind>`,
			Propfind{Props: []xml.Name{n("DAV:", "a")}}},
		{"a name is not its ASCII letters", `<propfind xmlns="DAV:"><prop><größe/></prop></propfind>`,
			Propfind{Props: []xml.Name{n("DAV:", "größe")}}},
		{"us-ascii", `<?xml version="1.0" encoding="US-ASCII" standalone="yes"?>` + `<propfind xmlns="DAV:"><allprop/></propfind>`, all},
		{"utf-8 with a byte order mark", "\uFEFF" + `<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><allprop/></propfind>` + "\n", all},
		{"white space in tags", "<propfind\n xmlns =\t'DAV:'\r\n><allprop /></propfind >", all},
		{"a prefix can be bound again", `<p:propfind xmlns:p="DAV:"><p:prop><p:a xmlns:p="u"/><p:b/></p:prop></p:propfind>`,
			Propfind{Props: []xml.Name{n("u", "a"), n("DAV:", "b")}}},
		{"xml may be declared to be what it is", `<propfind xmlns="DAV:" xmlns:xml="` + xmlSpace + `"><allprop/></propfind>`, all},
		{"the namespace may be written with references", `<propfind xmlns="&#x44;AV&#58;"><allprop/></propfind>`, all},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ReadPropfind(strings.NewReader(test.body))
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

func inUTF16(s string, high int) string {
	var b []byte
	for _, u := range utf16.Encode([]rune("\uFEFF" + s)) {
		unit := [2]byte{}
		unit[high], unit[1-high] = byte(u>>8), byte(u)
		b = append(b, unit[:]...)
	}
	return string(b)
}

func TestReadUTF16(t *testing.T) {
	const body = `<propfind xmlns="DAV:"><prop><größe xmlns="&#128512;😀"/></prop></propfind>`
	want := Propfind{Props: []xml.Name{n("😀😀", "größe")}}
	for high, order := range []string{"big endian", "little endian"} {
		for _, declaration := range []string{"", `<?xml version="1.0"?>`, `<?xml version="1.0" encoding="UTF-16"?>`} {
			t.Run(order+declaration, func(t *testing.T) {
				got, err := ReadPropfind(strings.NewReader(inUTF16(declaration+body, high)))
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("got %+v, %v, want %+v", got, err, want)
				}
			})
		}
	}
}

// All of these have DAV:allprop in the right place, so that they are refused only for being malformed.
func TestNotWellFormed(t *testing.T) {
	const all = "<allprop/></propfind>"
	const body = `<propfind xmlns="DAV:">` + all
	for _, test := range []struct{ name, body, reason string }{
		{"a prefix declared to be nothing (litmus propfind_invalid2)", `<D:propfind xmlns:D="DAV:"><D:prop><bar:foo xmlns:bar=""/></D:prop></D:propfind>`, "prefix bar"},
		{"a prefix that is not declared", `<propfind xmlns="DAV:"><x:y/>` + all, "not declared"},
		{"a prefix that is not declared any more", `<propfind xmlns="DAV:"><a xmlns:x="u"/><x:y/>` + all, "not declared"},
		{"an attribute with a prefix that is not declared", `<propfind xmlns="DAV:" x:y="">` + all, "not declared"},
		{"an element with the prefix xmlns", `<propfind xmlns="DAV:"><xmlns:y/>` + all, "not declared"},
		{"xml bound to something else", `<propfind xmlns="DAV:" xmlns:xml="u">` + all, "must not be declared"},
		{"the namespace of xml bound to another prefix", `<propfind xmlns="DAV:" xmlns:x="` + xmlSpace + `">` + all, "must not be declared"},
		{"the namespace of xml as the default", `<propfind xmlns="DAV:"><x xmlns="` + xmlSpace + `"/>` + all, "must not be declared"},
		{"xmlns declared", `<propfind xmlns="DAV:" xmlns:xmlns="` + xmlnsSpace + `">` + all, "must not be declared"},
		{"the namespace of xmlns bound", `<propfind xmlns="DAV:" xmlns:x="` + xmlnsSpace + `">` + all, "must not be declared"},
		{"two colons", `<propfind xmlns="DAV:"><x:y:z xmlns:x="u"/>` + all, "not a name"},
		{"a colon at the start", `<propfind xmlns="DAV:"><:z/>` + all, "prefix of a name"},
		{"a colon at the end", `<propfind xmlns="DAV:"><x: xmlns:x="u"/>` + all, "not a name"},
		{"a digit after the colon", `<propfind xmlns="DAV:"><x:1 xmlns:x="u"/>` + all, "not a name"},
		{"a multiplication sign in a name", `<propfind xmlns="DAV:"><a×b/>` + all, "not a name"},
		{"an attribute twice", `<propfind xmlns="DAV:" a="" a="">` + all, "twice"},
		{"an attribute twice under two prefixes", `<propfind xmlns="DAV:" xmlns:p="u" xmlns:q="u" p:a="" q:a="">` + all, "twice"},
		{"a declaration twice", `<propfind xmlns="DAV:" xmlns:p="u" xmlns:p="u">` + all, "twice"},
		{"no space between attributes", `<propfind xmlns="DAV:"a="">` + all, "other than an attribute"},
		{"an attribute without value", `<propfind xmlns="DAV:" a>` + all, "no value"},
		{"an attribute without quotes", `<propfind xmlns="DAV:" a=b>` + all, "no quotes"},
		{"a value that does not end", `<propfind xmlns="DAV:" a="b>` + all, "does not end"},
		{"< in a value", `<propfind xmlns="DAV:" a="<">` + all, "< in"},
		{"a second root", body + `<x/>`, "second root"},
		{"text after the root", body + `x`, "outside"},
		{"text before the root", `x` + body, "outside"},
		{"CDATA after the root", body + `<![CDATA[]]>`, "outside"},
		{"a reference after the root", body + `&#32;`, "outside"},
		{"no root", `<!-- nothing -->`, "no element"},
		{"an end too few", `<propfind xmlns="DAV:"><allprop>`, "does not end"},
		{"an end too many", body + `</propfind>`, "ends"},
		{"ends that cross", `<propfind xmlns="DAV:"><a><b></a></b>` + all, "ends"},
		{"an end under another prefix", `<p:propfind xmlns:p="DAV:" xmlns:q="DAV:"><p:allprop/></q:propfind>`, "ends"},
		{"an attribute in an end", `<propfind xmlns="DAV:"><allprop/></propfind a="">`, "end tag"},
		{"a tag that breaks off", `<propfind xmlns="DAV:"><allprop/></propfind`, "end tag"},
		{"]]> in text", `<propfind xmlns="DAV:">]]>` + all, "]]>"},
		{"CDATA that does not end", `<propfind xmlns="DAV:"><![CDATA[` + all, "does not end"},
		{"a comment that does not end", body + `<!-- `, "does not end"},
		{"-- in a comment", body + `<!-- a -- b -->`, "--"},
		{"--->", body + `<!-- a --->`, "--"},
		{"an entity that is not declared", `<propfind xmlns="DAV:">&nbsp;` + all, "nbsp"},
		{"& alone", `<propfind xmlns="DAV:">& ` + all, "&"},
		{"a reference to NUL", `<propfind xmlns="DAV:">&#0;` + all, "#0"},
		{"a reference to a surrogate", `<propfind xmlns="DAV:">&#xD800;` + all, "D800"},
		{"a reference with a sign", `<propfind xmlns="DAV:">&#+65;` + all, "stands for nothing"},
		{"a reference with an upper-case X", `<propfind xmlns="DAV:">&#X41;` + all, "stands for nothing"},
		{"a reference beyond Unicode", `<propfind xmlns="DAV:">&#x110000;` + all, "stands for nothing"},
		{"an undefined entity in a value", `<propfind xmlns="DAV:" a="&x;">` + all, "stands for nothing"},
		{"a control character", "<propfind xmlns='DAV:'>\x01" + all, "U+0001"},
		{"a control character in a comment", "<!-- \x1b -->" + body, "U+001B"},
		{"U+FFFF", "<propfind xmlns='DAV:'>\uFFFF" + all, "U+FFFF"},
		{"bytes that are not UTF-8", "<propfind xmlns='DAV:'>\xff" + all, "not UTF-8"},
		{"an empty document type", `<!DOCTYPE propfind>` + body, "refused"},
		{"a billion laughs", `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">` +
			`<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><propfind xmlns="DAV:">&c;` + all, "refused"},
		{"an external entity", `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><propfind xmlns="DAV:">&e;` + all, "refused"},
		{"a document type in the middle", `<propfind xmlns="DAV:"><!DOCTYPE x>` + all, "refused"},
		{"an XML declaration that is not first", ` <?xml version="1.0"?>` + body, "processing instruction"},
		{"an XML declaration without version", `<?xml encoding="utf-8"?>` + body, "version"},
		{"an empty XML declaration", `<?xml?>` + body, "processing instruction"},
		{"XML 2.0", `<?xml version="2.0"?>` + body, "2.0"},
		{"an XML declaration in another order", `<?xml version="1.0" standalone="no" encoding="utf-8"?>` + body, "the XML declaration is malformed"},
		{"standalone maybe", `<?xml version="1.0" standalone="maybe"?>` + body, "maybe"},
		{"a processing instruction without name", `<? ?>` + body, "not a name"},
		{"a processing instruction with a colon", `<?a:b ?>` + body, "processing instruction"},
		{"a processing instruction that does not end", body + `<?a `, "does not end"},
		{"a processing instruction without a space", `<?a"b"?>` + body, "no space"},
		{"iso-8859-1", `<?xml version="1.0" encoding="iso-8859-1"?>` + body, "iso-8859-1"},
		{"us-ascii that is not", `<?xml version="1.0" encoding="us-ascii"?><!--é-->` + body, "us-ascii"},
		{"utf-16 that is not", `<?xml version="1.0" encoding="utf-16"?>` + body, "UTF-16"},
		{"utf-8 that is not", inUTF16(`<?xml version="1.0" encoding="utf-8"?>`+body, 0), "UTF-16"},
		{"UTF-16 without a byte order mark", inUTF16(body, 0)[2:], "U+0000"},
		{"half a surrogate pair", inUTF16("<!-- ", 1) + "\x00\xd8" + inUTF16("-->"+body, 1)[2:], "surrogate"},
		{"half a surrogate pair at the end", inUTF16(body, 1) + "\x00\xd8", "surrogate"},
		{"half a character", inUTF16(body, 1) + " ", "half a character"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ReadPropfind(strings.NewReader(test.body))
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || !strings.Contains(syntax.Reason, test.reason) {
				t.Errorf("got %+v, %v, want a SyntaxError with %q", got, err, test.reason)
			}
		})
	}
}

func TestWrongDocument(t *testing.T) {
	propfind := func(r io.Reader) error { _, err := ReadPropfind(r); return err }
	proppatch := func(r io.Reader) error { _, err := ReadProppatch(r); return err }
	lock := func(r io.Reader) error { _, err := ReadLockInfo(r); return err }
	for _, test := range []struct {
		name string
		read func(io.Reader) error
		body string
	}{
		{"propfind: another root", propfind, `<prop xmlns="DAV:"><allprop/></prop>`},
		{"propfind: the root in no namespace", propfind, `<propfind><allprop/></propfind>`},
		{"propfind: nothing asked", propfind, `<propfind xmlns="DAV:"/>`},
		{"propfind: nothing known asked", propfind, `<propfind xmlns="DAV:"><leave-out/><include><a/></include></propfind>`},
		{"propfind: two questions", propfind, `<propfind xmlns="DAV:"><allprop/><prop/></propfind>`},
		{"propfind: one question twice", propfind, `<propfind xmlns="DAV:"><prop/><prop/></propfind>`},
		{"proppatch: no body", proppatch, ""},
		{"proppatch: another root", proppatch, `<propfind xmlns="DAV:"><set><prop><a/></prop></set></propfind>`},
		{"proppatch: nothing to do", proppatch, `<propertyupdate xmlns="DAV:"/>`},
		{"proppatch: nothing to set", proppatch, `<propertyupdate xmlns="DAV:"><set/></propertyupdate>`},
		{"lock: another root", lock, `<lock xmlns="DAV:"/>`},
		{"lock: no scope", lock, `<lockinfo xmlns="DAV:"><locktype><write/></locktype></lockinfo>`},
		{"lock: no type", lock, `<lockinfo xmlns="DAV:"><lockscope><shared/></lockscope></lockinfo>`},
		{"lock: another type", lock, `<lockinfo xmlns="DAV:"><lockscope><shared/></lockscope><locktype><read/></locktype></lockinfo>`},
		{"lock: both scopes", lock, `<lockinfo xmlns="DAV:"><lockscope><shared/><exclusive/></lockscope><locktype><write/></locktype></lockinfo>`},
		{"lock: two owners", lock, `<lockinfo xmlns="DAV:"><lockscope><shared/></lockscope><locktype><write/></locktype><owner/><owner/></lockinfo>`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var syntax *SyntaxError
			if err := test.read(strings.NewReader(test.body)); !errors.As(err, &syntax) {
				t.Errorf("got %v, want a SyntaxError", err)
			}
		})
	}
}

func TestSyntaxErrorNamesTheLine(t *testing.T) {
	_, err := ReadPropfind(strings.NewReader("<propfind xmlns='DAV:'>\r\n\r\n<x:y/></propfind>"))
	if want := "line 3: the prefix x is not declared"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestBounds(t *testing.T) {
	propfind := func(inside string) string { return `<propfind xmlns="DAV:"><prop>` + inside + `</prop></propfind>` }
	var names, attributes strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&names, "<a%d/>", i)
		fmt.Fprintf(&attributes, " a%d=''", i)
	}
	for _, test := range []struct {
		name, body string
		ok         bool
	}{
		{"the largest body", propfind("<a/>") + strings.Repeat(" ", MaxBody-len(propfind("<a/>"))), true},
		{"a byte more", propfind("<a/>") + strings.Repeat(" ", MaxBody+1-len(propfind("<a/>"))), false},
		{"the deepest body", propfind(strings.Repeat("<a>", MaxDepth-2) + strings.Repeat("</a>", MaxDepth-2)), true},
		{"an element deeper", propfind(strings.Repeat("<a>", MaxDepth-1) + strings.Repeat("</a>", MaxDepth-1)), false},
		{"a depth bomb", strings.Repeat("<a>", 300_000), false},
		{"many attributes", propfind("<a" + attributes.String() + "/>"), false},
		{"many names", propfind(names.String()), false},
		{"one name many times", propfind(strings.Repeat("<a/>", 100_000)), true},
		{"a long namespace used often", propfind(`<a xmlns="` + strings.Repeat("u", MaxNames/2) + `"/><x/>` +
			`<b xmlns="` + strings.Repeat("u", MaxNames/2) + `"/>`), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ReadPropfind(strings.NewReader(test.body))
			if test.ok && err != nil || !test.ok && err != ErrTooLarge {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A namespace of 400 kB that every one of 20,000 values would have to declare: 8 GB.
func TestValuesAreBounded(t *testing.T) {
	for name, inside := range map[string]string{
		"in one value":      "<v>" + strings.Repeat("<p:a/>", 20_000) + "</v>",
		"in several values": strings.Repeat("<v><p:a/></v>", 20_000),
		"in names":          strings.Repeat("<p:a/>", 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadProppatch(strings.NewReader(`<propertyupdate xmlns="DAV:" xmlns:p="` + strings.Repeat("u", 400_000) +
				`"><set><prop>` + inside + `</prop></set></propertyupdate>`))
			if err != ErrTooLarge {
				t.Errorf("got %v, want ErrTooLarge", err)
			}
		})
	}
}

// A loop that is not linear over one of these bodies would take minutes.
func TestHostileBodiesTakeNoTime(t *testing.T) {
	// Attributes to compare, in namespaces that differ only at their ends.
	var declarations, attributes strings.Builder
	for i := range 50 {
		fmt.Fprintf(&declarations, ` xmlns:p%d="%s%d"`, i, strings.Repeat("u", 10_000), i+100)
		fmt.Fprintf(&attributes, ` p%d:a=""`, i)
	}
	for name, body := range map[string]string{
		"attributes":         "<x" + declarations.String() + ">" + strings.Repeat("<x"+attributes.String()+"/>", 1000) + "</x>",
		"names to look up":   "<x>" + strings.Repeat("<ü/>", 200_000) + "</x>",
		"comments":           strings.Repeat("<!---->", 140_000),
		"references":         "<x>" + strings.Repeat("&#9;", 250_000) + "</x>",
		"a reference's end":  "<x>" + strings.Repeat("&", 1_000_000) + "</x>",
		"lines":              strings.Repeat("\n", 1_000_000) + "<",
		"names to remember":  `<propfind xmlns="DAV:"><prop>` + strings.Repeat("<a/>", 250_000),
		"text full of colon": "<x>" + strings.Repeat("a:", 500_000) + "</x>",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := ReadPropfind(strings.NewReader(body))
			var syntax *SyntaxError
			if took := time.Since(start); !errors.As(err, &syntax) || took > 30*time.Second {
				t.Errorf("%v after %v", err, took)
			}
			t.Log(time.Since(start))
		})
	}
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func TestReadsNoMoreThanTheBound(t *testing.T) {
	endless := &countingReader{r: strings.NewReader(strings.Repeat(" ", 3*MaxBody))}
	if _, err := ReadLockInfo(endless); err != ErrTooLarge {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	if endless.n > MaxBody+1 {
		t.Errorf("read %d bytes", endless.n)
	}
}

func TestReadErrorIsABodyError(t *testing.T) {
	_, err := ReadProppatch(io.MultiReader(strings.NewReader("<"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	var body *tree.BodyError
	if !errors.As(err, &body) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want a BodyError", err)
	}
}

func TestReadProppatch(t *testing.T) {
	const body = `<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:z" xml:lang="de">
 <D:set><D:prop><Z:a>1</Z:a><b xml:lang="fr"/><c xml:lang=""/></D:prop></D:set>
 <D:remove><D:prop><Z:a>ignored</Z:a></D:prop></D:remove>
 <Z:unknown><D:set/></Z:unknown>
 <D:set xml:lang="en"><Z:unknown/><D:prop><Z:a>2</Z:a></D:prop></D:set>
 <D:remove><D:prop/></D:remove>
</D:propertyupdate>`
	want := []webdav.Proppatch{
		{Props: []webdav.Property{
			{XMLName: n("urn:z", "a"), Lang: "de", InnerXML: []byte("1")},
			{XMLName: n("", "b"), Lang: "fr"},
			{XMLName: n("", "c")},
		}},
		{Remove: true, Props: []webdav.Property{{XMLName: n("urn:z", "a")}}},
		{Props: []webdav.Property{{XMLName: n("urn:z", "a"), Lang: "en", InnerXML: []byte("2")}}},
		{Remove: true},
	}
	got, err := ReadProppatch(strings.NewReader(body))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestValue(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"empty", "", ""},
		{"text", " a &amp; b &lt; c ", " a &amp; b &lt; c "},
		{"white space", "\r\n\t<x> </x>\r", "\n\t<x xmlns=\"DAV:\"> </x>\n"},
		{"a carriage return that was meant", "&#13;", "&#xD;"},
		{"CDATA", "<![CDATA[<a>&]]]]>&gt;", "&lt;a&gt;&amp;]]&gt;"},
		{"comments and processing instructions are dropped", "a<!-- b --><?c?>d", "ad"},
		{"the default namespace is declared", "<x><y/></x><z/>", `<x xmlns="DAV:"><y/></x><z xmlns="DAV:"/>`},
		{"prefixes are kept, and declared outermost, where used", "<P:x><Q:y><P:z/></Q:y></P:x>",
			`<P:x xmlns:P="urn:p" xmlns:Q="urn:q"><Q:y><P:z/></Q:y></P:x>`},
		{"prefixes of attributes", `<P:x Q:a="1" b="2"/>`, `<P:x xmlns:P="urn:p" xmlns:Q="urn:q" Q:a="1" b="2"/>`},
		{"a declaration inside stays where it is", `<P:x><y xmlns="u"><z/></y><Q:y xmlns:Q="v"/></P:x>`,
			`<P:x xmlns:P="urn:p"><y xmlns="u"><z/></y><Q:y xmlns:Q="v"/></P:x>`},
		{"no namespace stays none", `<y xmlns=""><z/></y>`, `<y xmlns=""><z/></y>`},
		{"an attribute has no default namespace", `<P:x a=""/>`, `<P:x xmlns:P="urn:p" a=""/>`},
		{"QNames in content", `<P:x Q:type="Q:string"/><P:x>(R:f,http://x:1)</P:x>`,
			`<P:x xmlns:P="urn:p" xmlns:Q="urn:q" Q:type="Q:string"/><P:x xmlns:P="urn:p" xmlns:R="urn:r">(R:f,http://x:1)</P:x>`},
		{"QNames in text before an element", `<P:x><P:y/>R:f</P:x>`, `<P:x xmlns:P="urn:p" xmlns:R="urn:r"><P:y/>R:f</P:x>`},
		{"xml:lang inside", `<P:x xml:lang="el" xml:space="preserve"> </P:x>`, `<P:x xmlns:P="urn:p" xml:lang="el" xml:space="preserve"> </P:x>`},
		{"values of attributes", "<P:x a='\"&apos;&lt;&#10;&#9;\t\n'/>", `<P:x xmlns:P="urn:p" a="&quot;'&lt;&#xA;&#x9;  "/>`},
		{"an element without content", "<P:x></P:x>", `<P:x xmlns:P="urn:p"/>`},
		{"a namespace to escape", "<E:x/>", `<E:x xmlns:E="u?a&amp;b"/>`},
		{"what the property declares itself", "<F:x/>", `<F:x xmlns:F="urn:f"/>`},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := `<propertyupdate xmlns="DAV:" xmlns:P="urn:p" xmlns:Q="urn:q" xmlns:R="urn:r" xmlns:E="u?a&amp;b"><set><prop>` +
				`<P:v xmlns:F="urn:f">` + test.value + `</P:v></prop></set></propertyupdate>`
			got := readValue(t, body)
			if got != test.want {
				t.Fatalf("got  %s\nwant %s", got, test.want)
			}
			again := readValue(t, `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><v>`+got+`</v></D:prop></D:set></D:propertyupdate>`)
			if again != got {
				t.Errorf("read again: %s\nwant        %s", again, got)
			}
		})
	}
}

func readValue(t *testing.T, body string) string {
	t.Helper()
	patches, err := ReadProppatch(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return string(patches[0].Props[0].InnerXML)
}

func TestReadLockInfo(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       LockInfo
	}{
		{"no body refreshes", "", LockInfo{Refresh: true}},
		{"exclusive", `<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>`, LockInfo{}},
		{"shared, with an owner", `<?xml version="1.0"?><lockinfo xmlns="DAV:"><lockscope><shared/></lockscope><locktype><write/></locktype>` +
			`<owner><href>http://a/?b&amp;c</href></owner></lockinfo>`,
			LockInfo{Shared: true, Owner: `<href xmlns="DAV:">http://a/?b&amp;c</href>`}},
		{"what is unknown is ignored", `<lockinfo xmlns="DAV:" xmlns:m="M:"><m:x/><lockscope><m:exclusive/><shared/></lockscope>` +
			`<locktype><m:x/><write/></locktype><owner>Me</owner></lockinfo>`, LockInfo{Shared: true, Owner: "Me"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ReadLockInfo(strings.NewReader(test.body))
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

// Names are read once in each namespace, with any prefix and any number of repetitions.
func TestNamesAreReadOnce(t *testing.T) {
	const body = `<D:propfind xmlns:D="DAV:" xmlns:a="x" xmlns:b="x" xmlns:c="y"><D:prop>` +
		`<a:n/><b:n/><c:n/><n/><D:n/><n xmlns="x"/><n xmlns=""/><a:m/><D:n/><a:m/></D:prop></D:propfind>`
	p, err := ReadPropfind(strings.NewReader(body))
	want := []xml.Name{{Space: "x", Local: "n"}, {Space: "y", Local: "n"}, {Local: "n"}, {Space: "DAV:", Local: "n"}, {Space: "x", Local: "m"}}
	if err != nil || !slices.Equal(p.Props, want) {
		t.Errorf("got %v, error %v, want %v", p.Props, err, want)
	}
}

// The number of properties has a bound, over all that are set and removed.
func TestProppatchIsBounded(t *testing.T) {
	part := func(what string, n int) string {
		return "<" + what + "><prop>" + strings.Repeat("<p/>", n) + "</prop></" + what + ">"
	}
	for number, want := range map[int]error{MaxProperties: nil, MaxProperties + 1: ErrTooLarge} {
		body := `<propertyupdate xmlns="DAV:">` + part("set", 10) + part("remove", number-20) + part("set", 10) + `</propertyupdate>`
		if _, err := ReadProppatch(strings.NewReader(body)); !errors.Is(err, want) {
			t.Errorf("%d properties: error %v, want %v", number, err, want)
		}
	}
}

// An attribute is there once, of few and of many.
func TestAttributesDiffer(t *testing.T) {
	for _, others := range []int{0, 3, 8, 9, 100} {
		for twice, bad := range map[string]bool{
			`a="" b=""`: false, `a="" a=""`: true, `n:a="" a=""`: false, `n:a="" m:a=""`: true, `n:a="" n:b=""`: false,
			`xmlns:q="" q=""`: true, `xmlns:q="x" q="" n:q=""`: false,
		} {
			var attributes strings.Builder
			for i := range others {
				fmt.Fprintf(&attributes, ` o%d=""`, i)
			}
			for _, order := range []string{twice + attributes.String(), strings.TrimSpace(attributes.String()) + " " + twice} {
				body := `<propfind xmlns="DAV:" xmlns:n="x" xmlns:m="x"><prop><p ` + order + `/></prop></propfind>`
				_, err := ReadPropfind(strings.NewReader(body))
				if syntax := new(SyntaxError); errors.As(err, &syntax) != bad {
					t.Errorf("%.60s and %d others: error %v, want one: %v", twice, others, err, bad)
				}
			}
		}
	}
}

// The characters of names are those of encoding/xml, both when it is called and when the cache answers.
func TestNamesHaveTheCharactersOfEncodingXML(t *testing.T) {
	said := func(name string) bool {
		_, err := xml.NewDecoder(strings.NewReader("<" + name + "/>")).RawToken()
		return err == nil
	}
	for r := rune(utf8.RuneSelf); r < 0x11000; r++ {
		if !isChar(r) {
			continue
		}
		for _, name := range []string{string(r), "a" + string(r)} {
			want := said(name)
			if first, then := isNCName(name), isNCName(name); first != want || then != want {
				t.Fatalf("%q (%U) is a name: %v, then %v, want %v", name, r, first, then, want)
			}
		}
	}
	for name, want := range map[string]bool{"": false, "-a": false, "a-": true, "1": false, "_": true, "é1": true, "é ": false, "é:a": false, "\u0301a": false, "a\u0301": true} {
		if isNCName(name) != want {
			t.Errorf("%q is a name: %v", name, !want)
		}
	}
}

// TestRawTokenIsNotEnough shows why the scanner is not built on RawToken of encoding/xml.
func TestRawTokenIsNotEnough(t *testing.T) {
	raw := func(doc string) (all []xml.Token, err error) {
		for d := xml.NewDecoder(strings.NewReader(doc)); ; {
			token, err := d.RawToken()
			if err == io.EOF {
				return all, nil
			}
			if err != nil {
				return nil, err
			}
			all = append(all, xml.CopyToken(token))
		}
	}
	wrap := func(inside string) string { return `<propfind xmlns="DAV:">` + inside + "<allprop/></propfind>" }
	for about, body := range map[string]string{
		"no space between attributes":                         wrap(`<a b=""c=""/>`),
		"no space after the name of a processing instruction": `<?a"b"?>` + wrap(""),
		"half a surrogate pair":                               wrap("&#xD800;"),
		"an XML declaration in another order":                 `<?xml version="1.0" standalone="no" encoding="utf-8"?>` + wrap(""),
	} {
		if _, err := raw(body); err != nil {
			t.Errorf("%s: RawToken refuses it now: %v", about, err)
		}
		if _, err := ReadPropfind(strings.NewReader(body)); !errors.As(err, new(*SyntaxError)) {
			t.Errorf("%s: got %v, want a SyntaxError", about, err)
		}
	}
	for about, two := range map[string][2]string{
		"a reference after the root, and white space":          {wrap("") + "&#32;", wrap("") + " "},
		"a reference to a line end in a value, and a line end": {wrap(`<a b="&#10;"/>`), wrap("<a b=\"\n\"/>")},
	} {
		one, err1 := raw(two[0])
		other, err2 := raw(two[1])
		if err1 != nil || err2 != nil || !reflect.DeepEqual(one, other) {
			t.Errorf("%s: RawToken tells them apart now: %v, %v and %v, %v", about, one, err1, other, err2)
		}
	}
	if _, err := raw(`<?xml version="1.1"?>` + wrap("")); err == nil {
		t.Error("RawToken reads XML 1.1 now")
	}
}
