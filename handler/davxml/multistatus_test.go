package davxml

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

const head = `<?xml version="1.0" encoding="utf-8"?>` + "\n"

func TestMultistatus(t *testing.T) {
	property := func(space, local, value string) webdav.Property {
		return webdav.Property{XMLName: n(space, local), InnerXML: []byte(value)}
	}
	for _, test := range []struct {
		name  string
		write func(m *Multistatus) error
		want  string // inside of the multistatus
	}{
		{"no response", func(m *Multistatus) error { return nil }, ""},
		{"two propstats, in the order given", func(m *Multistatus) error {
			return m.Response("/a/", webdav.Propstat{Status: 200, Props: []webdav.Property{
				property("DAV:", "resourcetype", "<D:collection/>"), property("DAV:", "displayname", "a"),
			}}, webdav.Propstat{Status: 404, Props: []webdav.Property{property("DAV:", "getetag", "")}})
		}, `<D:response><D:href>/a/</D:href>` +
			`<D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype><D:displayname>a</D:displayname></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>` +
			`<D:propstat><D:prop><D:getetag/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>`},
		{"an empty propstat is left out", func(m *Multistatus) error {
			return m.Response("/a", webdav.Propstat{Status: 200}, webdav.Propstat{Status: 404, Props: []webdav.Property{property("DAV:", "x", "")}})
		}, `<D:response><D:href>/a</D:href><D:propstat><D:prop><D:x/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>`},
		{"no propstat is a 200 without properties", func(m *Multistatus) error { return m.Response("/a?b&c", webdav.Propstat{Status: 404}) },
			`<D:response><D:href>/a?b&amp;c</D:href><D:propstat><D:prop></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>`},
		{"namespaces", func(m *Multistatus) error {
			return m.Response("/", webdav.Propstat{Status: 200, Props: []webdav.Property{
				property("u?a&\"b", "x", "1"), property("", "y", "2"), property(xmlSpace, "z", "3"),
				{XMLName: n("u", "x"), Lang: `d"e`},
			}})
		}, `<D:response><D:href>/</D:href><D:propstat><D:prop><ns:x xmlns:ns="u?a&amp;&quot;b">1</ns:x><y xmlns="">2</y><xml:z>3</xml:z>` +
			`<ns:x xmlns:ns="u" xml:lang="d&quot;e"/></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>`},
		{"error and description", func(m *Multistatus) error {
			return m.Response("/", webdav.Propstat{Status: 403, Props: []webdav.Property{property("DAV:", "getetag", "")},
				XMLError: "<D:cannot-modify-protected-property/>", ResponseDescription: "a < b"},
				webdav.Propstat{Status: webdav.StatusFailedDependency, Props: []webdav.Property{property("DAV:", "x", "")}})
		}, `<D:response><D:href>/</D:href><D:propstat><D:prop><D:getetag/></D:prop><D:status>HTTP/1.1 403 Forbidden</D:status>` +
			`<D:error><D:cannot-modify-protected-property/></D:error><D:responsedescription>a &lt; b</D:responsedescription></D:propstat>` +
			`<D:propstat><D:prop><D:x/></D:prop><D:status>HTTP/1.1 424 Failed Dependency</D:status></D:propstat></D:response>`},
		{"a status", func(m *Multistatus) error { return m.Status("/b", 403, "", "") },
			`<D:response><D:href>/b</D:href><D:status>HTTP/1.1 403 Forbidden</D:status></D:response>`},
		{"a status with a condition", func(m *Multistatus) error { return m.Status("/b", 423, "lock-token-submitted", "") },
			`<D:response><D:href>/b</D:href><D:status>HTTP/1.1 423 Locked</D:status><D:error><D:lock-token-submitted/></D:error></D:response>`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			m := NewMultistatus(&out)
			if err := errors.Join(test.write(m), m.Close()); err != nil {
				t.Fatal(err)
			}
			if want := head + `<D:multistatus xmlns:D="DAV:">` + test.want + `</D:multistatus>`; out.String() != want {
				t.Errorf("got  %s\nwant %s", out.String(), want)
			}
			if _, err := tokens(out.String()); err != nil {
				t.Errorf("encoding/xml: %v", err)
			}
		})
	}
}

// The prefixes as encoding/xml reads them.
func TestMultistatusNamespaces(t *testing.T) {
	var out strings.Builder
	m := NewMultistatus(&out)
	names := []xml.Name{n("DAV:", "a"), n("u", "b"), n("", "c"), n("http://x/?y&z=\"1\"", "größe")}
	var props []webdav.Property
	for _, name := range names {
		props = append(props, webdav.Property{XMLName: name, InnerXML: []byte(`<i/>`)})
	}
	if err := errors.Join(m.Response("/", webdav.Propstat{Status: 200, Props: props}), m.Close()); err != nil {
		t.Fatal(err)
	}
	var got struct {
		XMLName  xml.Name `xml:"DAV: multistatus"`
		Response []struct {
			Propstat struct {
				Prop struct {
					Props []struct {
						XMLName xml.Name
						Inner   []struct{ XMLName xml.Name } `xml:",any"`
					} `xml:",any"`
				} `xml:"DAV: prop"`
			} `xml:"DAV: propstat"`
		} `xml:"DAV: response"`
	}
	if err := xml.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	for i, p := range got.Response[0].Propstat.Prop.Props {
		if p.XMLName != names[i] || p.Inner[0].XMLName != n("", "i") {
			t.Errorf("got %v with %v, want %v", p.XMLName, p.Inner[0].XMLName, names[i])
		}
	}
}

func TestMultistatusStreams(t *testing.T) {
	out := &recorder{}
	m := NewMultistatus(out)
	for i := range 5000 {
		if err := m.Response(fmt.Sprintf("/%d", i), entry); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if out.largest > flushAt+8<<10 || out.writes < 10 {
		t.Errorf("%d writes, the largest of %d bytes", out.writes, out.largest)
	}
	if err := m.Response("/"); err == nil {
		t.Error("a response after the end was accepted")
	}
	if err := m.Close(); err == nil {
		t.Error("closed twice")
	}
}

func TestMultistatusReportsTheErrorOfItsWriter(t *testing.T) {
	m := NewMultistatus(&recorder{err: io.ErrClosedPipe})
	if err := m.Status("/", 404, "", ""); err != nil {
		t.Errorf("before anything is written: %v", err)
	}
	if err := m.Response(strings.Repeat("a", flushAt)); err != io.ErrClosedPipe {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(m.Status("/", 404, "", ""), m.Close()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

type recorder struct {
	writes, largest int
	err             error
}

func (r *recorder) Write(p []byte) (int, error) {
	r.writes++
	r.largest = max(r.largest, len(p))
	return len(p), r.err
}

func TestText(t *testing.T) {
	for _, test := range []struct{ s, want string }{
		{"", ""},
		{"größe 😀\t\n", "größe 😀\t\n"},
		{`<a href="b">&amp;</a>]]>'`, `&lt;a href="b"&gt;&amp;amp;&lt;/a&gt;]]&gt;'`},
		{"a\rb", "a&#xD;b"},
		{"\x00a\x1fb\x7f", "\uFFFDa\uFFFDb\x7f"},
		{"\xffa\xc3", "\uFFFDa\uFFFD"},
		{"\uFFFE\uFFFF\uFFFD", "\uFFFD\uFFFD\uFFFD"},
		{"\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"}, // a surrogate
	} {
		got := string(AppendText(nil, test.s))
		if got != test.want {
			t.Errorf("AppendText(nil, %q) = %q, want %q", test.s, got, test.want)
		}
		if _, err := tokens("<r>" + got + "</r>"); err != nil {
			t.Errorf("AppendText(nil, %q): encoding/xml: %v", test.s, err)
		}
	}
}

func TestLocks(t *testing.T) {
	now := time.Unix(1e9, 0)
	href := func(l tree.Lock) string { return "/dav/" + l.Root + "?&" }
	locks := []tree.Lock{
		{Token: "urn:uuid:1", Root: "a", Owner: `<h xmlns="DAV:">me</h>`, Expires: now.Add(time.Hour)},
		{Token: "urn:uuid:2", Root: "", Infinite: true, Shared: true, Expires: now.Add(-time.Hour)},
	}
	const want = `<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:exclusive/></D:lockscope><D:depth>0</D:depth>` +
		`<D:owner><h xmlns="DAV:">me</h></D:owner><D:timeout>Second-3600</D:timeout>` +
		`<D:locktoken><D:href>urn:uuid:1</D:href></D:locktoken><D:lockroot><D:href>/dav/a?&amp;</D:href></D:lockroot></D:activelock>` +
		`<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:shared/></D:lockscope><D:depth>infinity</D:depth>` +
		`<D:timeout>Second-1</D:timeout>` +
		`<D:locktoken><D:href>urn:uuid:2</D:href></D:locktoken><D:lockroot><D:href>/dav/?&amp;</D:href></D:lockroot></D:activelock>`
	if got := string(AppendLocks(nil, locks, now, href)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := AppendLocks(nil, nil, now, href); len(got) != 0 {
		t.Errorf("no locks: %s", got)
	}
	var out strings.Builder
	if err := WriteLock(&out, locks, now, href); err != nil {
		t.Fatal(err)
	}
	if want := head + `<D:prop xmlns:D="DAV:"><D:lockdiscovery>` + want + `</D:lockdiscovery></D:prop>`; out.String() != want {
		t.Errorf("got  %s\nwant %s", out.String(), want)
	}
}

func TestLockTimeout(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, test := range []struct {
		expires time.Time
		want    int64
	}{
		{now.Add(10*time.Second - 1), 9}, {now.Add(time.Millisecond), 1}, {now, 1}, {time.Time{}, 1},
		{now.AddDate(250, 0, 0), 1<<32 - 1},
	} {
		if got := secondsLeft(tree.Lock{Expires: test.expires}, now); got != test.want {
			t.Errorf("%v: got %d, want %d", test.expires, got, test.want)
		}
	}
}

func TestSupportedLockIsXML(t *testing.T) {
	if _, err := tokens(`<r xmlns:D="DAV:">` + SupportedLock + `</r>`); err != nil {
		t.Error(err)
	}
}

func TestWriteError(t *testing.T) {
	for _, test := range []struct {
		condition string
		hrefs     []string
		want      string
	}{
		{"propfind-finite-depth", nil, `<D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>`},
		{"lock-token-submitted", []string{"/a&b", "/c"},
			`<D:error xmlns:D="DAV:"><D:lock-token-submitted><D:href>/a&amp;b</D:href><D:href>/c</D:href></D:lock-token-submitted></D:error>`},
	} {
		var out strings.Builder
		if err := WriteError(&out, test.condition, test.hrefs...); err != nil || out.String() != head+test.want {
			t.Errorf("got %s, %v, want %s", out.String(), err, test.want)
		}
	}
}

// entry is a member in a listing with the usual seven properties.
var entry = webdav.Propstat{Status: 200, Props: []webdav.Property{
	{XMLName: n("DAV:", "resourcetype")},
	{XMLName: n("DAV:", "displayname"), InnerXML: []byte("report-2026.txt")},
	{XMLName: n("DAV:", "getcontentlength"), InnerXML: []byte("123456")},
	{XMLName: n("DAV:", "getcontenttype"), InnerXML: []byte("text/plain; charset=utf-8")},
	{XMLName: n("DAV:", "getetag"), InnerXML: []byte(`"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"`)},
	{XMLName: n("DAV:", "getlastmodified"), InnerXML: []byte("Sun, 22 Nov 2026 10:00:00 GMT")},
	{XMLName: n("http://apache.org/dav/props/", "executable"), InnerXML: []byte("F")},
}}

func BenchmarkMultistatus(b *testing.B) {
	m := NewMultistatus(io.Discard)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Response("/files/projects/2026/report-2026.txt", entry); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadPropfind(b *testing.B) {
	const body = `<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getetag/>` +
		`<getlastmodified/><executable xmlns="http://apache.org/dav/props/"/></prop></propfind>`
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadPropfind(strings.NewReader(body)); err != nil {
			b.Fatal(err)
		}
	}
}
