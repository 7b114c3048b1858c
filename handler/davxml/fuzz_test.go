package davxml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/webdav"
)

// tokens reads a document with encoding/xml: its names, attributes and text, without declarations of namespaces.
func tokens(doc string) ([]string, error) {
	d := decoder(doc)
	var all []string
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			all = append(all, "text "+text.String())
			text.Reset()
		}
	}
	for {
		t, err := d.Token()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			flush()
			all = append(all, startToken(t.Name))
			for _, a := range t.Attr {
				if a.Name.Space != "xmlns" && a.Name != n("", "xmlns") {
					all = append(all, attributeToken(a.Name, a.Value))
				}
			}
		case xml.EndElement:
			flush()
			all = append(all, "end")
		case xml.CharData:
			if len(all) > 0 {
				text.Write(t)
			}
		}
	}
}

func decoder(doc string) *xml.Decoder {
	d := xml.NewDecoder(strings.NewReader(doc))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	return d
}

func startToken(name xml.Name) string {
	return fmt.Sprintf("start %q", n(oneLine.Replace(name.Space), name.Local)) // a namespace is the value of an attribute
}

func attributeToken(name xml.Name, value string) string {
	return fmt.Sprintf("attribute %q=%s", n(oneLine.Replace(name.Space), name.Local), oneLine.Replace(value))
}

// encoding/xml leaves the white space of attributes as it is.
var oneLine = strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")

// checkScanner checks that encoding/xml reads the same in a document that the scanner accepts.
func checkScanner(t *testing.T, body []byte) {
	s, err := open(bytes.NewReader(body))
	if err != nil || s == nil {
		return
	}
	var got []string
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			got = append(got, "text "+text.String())
			text.Reset()
		}
	}
	for {
		k, err := s.next()
		if err != nil {
			return
		}
		if k == endDocument {
			break
		}
		switch k {
		case startElement:
			flush()
			got = append(got, startToken(s.name))
			for _, a := range s.attrs {
				if _, declares := a.declares(); !declares {
					space := ""
					if a.prefix != "" {
						space = s.scope[a.prefix].uri
					}
					got = append(got, attributeToken(n(space, a.local), a.value))
				}
			}
		case endElement:
			flush()
			got = append(got, "end")
		case characters:
			if len(got) > 0 { // encoding/xml makes a token of the white space around the root as well
				text.WriteString(s.text)
			}
		}
	}
	want, err := tokens(s.doc)
	if err != nil && strings.Contains(err.Error(), "unsupported version") {
		return // XML 1.0 §2.8: "processors … SHOULD accept" 1.x
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got       %q\nencoding/xml %q, %v", got, want, err)
	}
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var syntax *SyntaxError
	if err != nil && err != ErrTooLarge && (!errors.As(err, &syntax) || syntax.Line < 1 || syntax.Reason == "") {
		t.Errorf("an error of no known kind: %#v", err)
	}
}

func seed(f *testing.F, root string) {
	for _, s := range []string{
		"", " ", `<?xml version="1.0" encoding="utf-8" standalone='no' ?>` + "\r\n<!-- c --><?p i?>" + root,
		"\uFEFF" + root, inUTF16(root, 0), inUTF16(root, 1), `<!DOCTYPE a [<!ENTITY b "c">]>` + root, root + "x",
		strings.ReplaceAll(root, "<a/>", `<p:a xmlns:p="u" xmlns="" xml:lang="de" p:b='&#10;"' p:c="p:d">]]&gt;<![CDATA[<&]]>D:x<ü/></p:a>`),
		strings.ReplaceAll(root, "<a/>", "<a b='1' b='2'/><xmlns:a/><xml:b/><:a/><a xmlns:b=''/>"),
		strings.ReplaceAll(root, "<a/>", strings.Repeat("<a>", 120)),
	} {
		f.Add([]byte(s))
	}
}

func FuzzReadPropfind(f *testing.F) {
	seed(f, `<propfind xmlns="DAV:"><prop><a/></prop></propfind>`)
	seed(f, `<D:propfind xmlns:D="DAV:"><D:allprop/><D:include><a/></D:include></D:propfind>`)
	f.Fuzz(func(t *testing.T, body []byte) {
		checkScanner(t, body)
		p, err := ReadPropfind(bytes.NewReader(body))
		checkError(t, err)
		if err != nil {
			return
		}
		// Every name can be answered, and is read again as it was.
		var props []webdav.Property
		for _, name := range append(p.Props, p.Include...) {
			props = append(props, webdav.Property{XMLName: name})
		}
		if again := throughMultistatus(t, props); !reflect.DeepEqual(again, props) {
			t.Errorf("got  %q\nwant %q", again, props)
		}
	})
}

func FuzzReadProppatch(f *testing.F) {
	seed(f, `<propertyupdate xmlns="DAV:" xmlns:D="u" xmlns:ns="v"><set><prop><x><a/></x></prop></set><remove><prop><a/></prop></remove></propertyupdate>`)
	seed(f, `<D:propertyupdate xmlns:D="DAV:" xmlns:p="u"><D:set><D:prop><x xmlns="v"><y p:b="p:c"> <p:z/></y><p:y/></x></D:prop></D:set></D:propertyupdate>`)
	seed(f, `<D:propertyupdate xmlns:D="DAV:" xml:lang="en"><D:set><D:prop><a/></D:prop></D:set></D:propertyupdate>`)
	f.Fuzz(func(t *testing.T, body []byte) {
		checkScanner(t, body)
		patches, err := ReadProppatch(bytes.NewReader(body))
		checkError(t, err)
		var first []webdav.Property
		for _, p := range patches {
			first = append(first, p.Props...)
		}
		if err != nil {
			return
		}
		if said := valuesSaid(body); said != nil && !reflect.DeepEqual(meaning(t, first), said) {
			t.Errorf("got          %q\nencoding/xml %q", meaning(t, first), said)
		}
		second := throughMultistatus(t, first)
		third := throughMultistatus(t, second)
		// The second reading may declare D and ns, which a multistatus has, for a text that mentions them. The
		// meaning of the value is the same. The third has nothing to add.
		if !reflect.DeepEqual(second, third) {
			t.Errorf("got  %q\nwant %q", third, second)
		}
		if !reflect.DeepEqual(meaning(t, first), meaning(t, second)) {
			t.Errorf("got  %q\nwant %q", second, first)
		}
	})
}

func FuzzReadLockInfo(f *testing.F) {
	seed(f, `<lockinfo xmlns="DAV:"><lockscope><shared/></lockscope><locktype><write/></locktype><owner><a/></owner></lockinfo>`)
	f.Fuzz(func(t *testing.T, body []byte) {
		checkScanner(t, body)
		info, err := ReadLockInfo(bytes.NewReader(body))
		checkError(t, err)
		if err != nil || info.Refresh {
			return
		}
		again, err := ReadLockInfo(strings.NewReader(`<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:shared/></D:lockscope>` +
			`<D:locktype><D:write/></D:locktype><D:owner>` + info.Owner + `</D:owner></D:lockinfo>`))
		if err == ErrTooLarge { // a word around it, a level deeper or not
			return
		}
		if err != nil {
			t.Fatalf("%v in %s", err, info.Owner)
		}
		owner := func(s string) []webdav.Property { return []webdav.Property{{InnerXML: []byte(s)}} }
		if !reflect.DeepEqual(meaning(t, owner(again.Owner)), meaning(t, owner(info.Owner))) {
			t.Errorf("got  %q\nwant %q", again.Owner, info.Owner)
		}
	})
}

// valuesSaid is the meaning of the properties of a PROPPATCH that we accept, as encoding/xml reads them.
func valuesSaid(body []byte) (all [][]string) {
	doc, _, _ := decode(body)
	d := decoder(doc)
	var open []xml.Name
	langs := []string{""}
	var one, text []string
	flush := func() {
		if joined := strings.Join(text, ""); joined != "" {
			one = append(one, "text "+joined)
		}
		text = nil
	}
	for {
		t, err := d.Token()
		if err != nil {
			return all // at the end, or of a version that encoding/xml does not know
		}
		inside := len(open) >= 4 && open[2] == dav("prop") && (open[1] == dav("set") || open[1] == dav("remove"))
		set := inside && open[1] == dav("set")
		switch t := t.(type) {
		case xml.StartElement:
			lang := langs[len(langs)-1]
			open = append(open, t.Name)
			if set {
				flush()
				one = append(one, startToken(t.Name))
			}
			for _, a := range t.Attr {
				if a.Name == n(xmlSpace, "lang") {
					lang = oneLine.Replace(a.Value)
				}
				if set && a.Name.Space != "xmlns" && a.Name != n("", "xmlns") {
					one = append(one, attributeToken(a.Name, a.Value))
				}
			}
			langs = append(langs, lang)
		case xml.EndElement:
			if set {
				flush()
			}
			if inside && len(open) == 4 {
				if !set {
					langs[len(langs)-1] = ""
				}
				value := append([]string{fmt.Sprintf("start %q", n("", "r"))}, one...)
				all = append(all, append(value, "end", oneLine.Replace(t.Name.Space), t.Name.Local, langs[len(langs)-1]))
				one = nil
			} else if set {
				one = append(one, "end")
			}
			open, langs = open[:len(open)-1], langs[:len(langs)-1]
		case xml.CharData:
			if set {
				text = append(text, string(t))
			}
		}
	}
}

// throughMultistatus writes properties, and reads them again.
func throughMultistatus(t *testing.T, props []webdav.Property) (again []webdav.Property) {
	t.Helper()
	var out bytes.Buffer
	m := NewMultistatus(&out)
	if err := errors.Join(m.Response("/", webdav.Propstat{Status: 200, Props: props}), m.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens(out.String()); err != nil {
		t.Fatalf("encoding/xml: %v in %s", err, out.String())
	}
	s, err := open(&out)
	if err == ErrTooLarge {
		t.Skip("NOT RUN: the input is larger than a body may be")
	}
	if err != nil {
		t.Fatal(err)
	}
	left := maxUpdate
	down := func(do func() error) func() error {
		return func() error { return s.children(do) }
	}
	err = s.document("multistatus", down(down(down(func() error {
		p, err := s.property(false, &left)
		again = append(again, p)
		return err
	}))))
	if err == ErrTooLarge {
		t.Skip("NOT RUN: the multistatus has more levels above the value than are read")
	}
	if err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	for i := range again {
		if len(again[i].InnerXML) == 0 {
			again[i].InnerXML = nil
		}
	}
	return again
}

// meaning returns the meaning of properties, without the places of declarations.
func meaning(t *testing.T, props []webdav.Property) (all [][]string) {
	t.Helper()
	for _, p := range props {
		value, err := tokens(fmt.Sprintf("<r>%s</r>", p.InnerXML))
		if err != nil {
			t.Fatalf("encoding/xml: %v in %s", err, p.InnerXML)
		}
		all = append(all, append(value, oneLine.Replace(p.XMLName.Space), p.XMLName.Local, oneLine.Replace(p.Lang)))
	}
	return all
}
