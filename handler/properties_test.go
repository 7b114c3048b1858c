package handler

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/handler/davxml"
)

func propfindOf(names string) string {
	return `<propfind xmlns="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:a="http://apache.org/dav/props/" xmlns:w="urn:schemas-microsoft-com:"><prop>` + names + `</prop></propfind>`
}

func patchOf(names string) string {
	return `<propertyupdate xmlns="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:a="http://apache.org/dav/props/" xmlns:w="urn:schemas-microsoft-com:"><set><prop>` + names + `</prop></set></propertyupdate>`
}

const (
	sumsOfHello = "SHA1:aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d MD5:5d41402abc4b2a76b9719d911017c592 " +
		"SHA256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	ok200, missing404 = "HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found"
)

func TestLiveProperties(t *testing.T) {
	layout := []string{"d/", "f=hello"}
	for _, tt := range []struct {
		about, target, names string
		config               Config
		want                 string // the propstats, as far as they are named here
	}{
		{about: "checksums, by name", target: "/f", names: "<oc:checksums/>",
			want: `<checksum xmlns="http://owncloud.org/ns">` + sumsOfHello + `</checksum>`},
		{about: "a collection has none", target: "/d/", names: "<oc:checksums/>", want: missing404},
		{about: "size", target: "/f", names: "<oc:size/>", want: ">5</ns:size>"},
		{about: "a collection has no size", target: "/d/", names: "<oc:size/>", want: missing404},
		{about: "not executable", target: "/f", names: "<a:executable/>", want: ">F</ns:executable>"},
		{about: "a collection is not a program", target: "/d/", names: "<a:executable/>", want: missing404},
		{about: "quota that is not known", target: "/d/", names: "<quota-available-bytes/><quota-used-bytes/>",
			want: "<D:quota-available-bytes/><D:quota-used-bytes/></D:prop><D:status>" + missing404},
		{about: "methods of a file", target: "/f", names: "<supported-method-set/>", want: `<D:supported-method name="PUT"/>`},
		{about: "methods of a collection", target: "/d/", names: "<supported-method-set/>",
			want: `<D:supported-method-set><D:supported-method name="OPTIONS"/><D:supported-method name="GET"/><D:supported-method name="HEAD"/>` +
				`<D:supported-method name="DELETE"/><D:supported-method name="COPY"/><D:supported-method name="MOVE"/><D:supported-method name="PROPFIND"/>` +
				`<D:supported-method name="PROPPATCH"/><D:supported-method name="LOCK"/><D:supported-method name="UNLOCK"/>` +
				`<D:supported-method name="REPORT"/></D:supported-method-set>`},
		{about: "methods without writing", target: "/f", names: "<supported-method-set/>", config: Config{ReadOnly: true},
			want: `<D:supported-method name="HEAD"/><D:supported-method name="PROPFIND"/></D:supported-method-set>`},
		{about: "reports of a collection", target: "/d/", names: "<supported-report-set/>",
			want: "<D:supported-report><D:report><D:sync-collection/></D:report></D:supported-report></D:supported-report-set>"},
		{about: "a file has no sync token", target: "/f", names: "<sync-token/>", want: missing404},
		{about: "no reports of a file", target: "/f", names: "<supported-report-set/>", want: "<D:supported-report-set/></D:prop><D:status>" + ok200},
		{about: "privileges of a file", target: "/f", names: "<current-user-privilege-set/>",
			want: "<D:privilege><D:write-content/></D:privilege></D:current-user-privilege-set>"},
		{about: "privileges of a collection", target: "/d/", names: "<current-user-privilege-set/>",
			want: "<D:privilege><D:bind/></D:privilege><D:privilege><D:unbind/></D:privilege></D:current-user-privilege-set>"},
		{about: "privileges without writing", target: "/d/", names: "<current-user-privilege-set/>", config: Config{ReadOnly: true},
			want: "<D:current-user-privilege-set><D:privilege><D:read/></D:privilege></D:current-user-privilege-set>"},
		{about: "locks", target: "/f", names: "<supportedlock/><lockdiscovery/>", want: "<D:exclusive/>"},
		{about: "no locks", target: "/f", names: "<supportedlock/><lockdiscovery/>", config: Config{NoLocks: true},
			want: "<D:supportedlock/><D:lockdiscovery/></D:prop><D:status>" + missing404},
		{about: "no locks without writing", target: "/f", names: "<supportedlock/><lockdiscovery/>", config: Config{ReadOnly: true},
			want: "<D:supportedlock/><D:lockdiscovery/></D:prop><D:status>" + missing404},
		{about: "what nobody knows", target: "/f", names: "<getetag/><x/><getcontentlength/>",
			want: "<D:getcontentlength>5</D:getcontentlength></D:prop><D:status>" + ok200 + "</D:status></D:propstat><D:propstat><D:prop><D:x/></D:prop><D:status>" + missing404},
	} {
		t.Run(tt.about, func(t *testing.T) {
			h := inMemory(t, tt.config, layout...)
			w := ask(t, h, "PROPFIND", tt.target, propfindOf(tt.names), "Depth: 0")
			if w.Code != webdav.StatusMulti || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("got %d %s\nwant %s", w.Code, w.Body, tt.want)
			}
		})
	}
}

// The allprop of a member must be short for the mini-redirector of Windows: 2,000 members must fit into 1 MB. The
// other properties are sent to clients that name them, also in an include, and in a propname.
func TestAllpropIsCompact(t *testing.T) {
	h := inMemoryWith(t, fs.Options{}, Config{}, "d/", "d/a file with a long name.txt=hello")
	const target = "/d/a%20file%20with%20a%20long%20name.txt"
	const empty = `<?xml version="1.0" encoding="utf-8"?>` + "\n" + `<D:multistatus xmlns:D="DAV:"></D:multistatus>`
	all := ask(t, h, "PROPFIND", target, "", "Depth: 0").Body.String()
	if n := len(all) - len(empty); n > 500 { // the time of creation is not known here
		t.Errorf("a member takes %d bytes, want 500 at the most: %s", n, all)
	}
	for i := range liveProperties {
		l := &liveProperties[i]
		tag := ":" + l.name.Local
		if got := strings.Contains(all, tag+">") || strings.Contains(all, tag+"/>") || strings.Contains(all, tag+" "); got == l.named && l.name != dav("creationdate") {
			t.Errorf("%s is told by allprop: %v", l.name.Local, got)
		}
	}
	names := ask(t, h, "PROPFIND", target, `<propfind xmlns="DAV:"><propname/></propfind>`, "Depth: 0").Body.String()
	for _, name := range []string{"getetag", "supportedlock", "checksums", "current-user-privilege-set", "executable"} {
		if !strings.Contains(names, ":"+name) {
			t.Errorf("%s is not among the names: %s", name, names)
		}
	}
	included := ask(t, h, "PROPFIND", target,
		`<propfind xmlns="DAV:"><allprop/><include><supportedlock/><getetag/><x/></include></propfind>`, "Depth: 0").Body.String()
	if strings.Count(included, "<D:supportedlock>") != 1 || strings.Count(included, "<D:getetag>") != 1 || !strings.Contains(included, "<D:x/></D:prop><D:status>"+missing404) {
		t.Errorf("with an include: %s", included)
	}
}

func TestPropertiesThatCanBeSet(t *testing.T) {
	const forbidden, conflict, failed = "403 Forbidden", "409 Conflict", "424 Failed Dependency"
	for _, tt := range []struct {
		about, target, set string
		want               []string // in this order
		read, value        string   // the properties afterwards
	}{
		{"a program", "/f", "<a:executable>T</a:executable>", []string{ok200}, "<a:executable/>", ">T<"},
		{"neither one nor the other", "/f", "<a:executable>yes</a:executable>", []string{conflict}, "<a:executable/>", ">F<"},
		{"a collection is not a program", "/d/", "<a:executable>T</a:executable>", []string{conflict}, "<a:executable/>", missing404},
		{"the time as rclone sets it, with the checksum", "/f",
			"<lastmodified>1000000000</lastmodified><oc:checksums><oc:checksum>SHA1:aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d</oc:checksum></oc:checksums>",
			[]string{ok200}, "<getlastmodified/><lastmodified/>", ">Sun, 09 Sep 2001 01:46:40 GMT</D:getlastmodified><D:lastmodified>1000000000<"},
		{"the checksum in capitals, and one of a function that is not known", "/f",
			"<oc:checksums>ADLER32:1 MD5:5D41402ABC4B2A76B9719D911017C592</oc:checksums>", []string{ok200}, "<oc:checksums/>", sumsOfHello},
		{"a checksum of something else", "/f",
			"<lastmodified>1</lastmodified><oc:checksums><oc:checksum>SHA1:0000000000000000000000000000000000000000</oc:checksum></oc:checksums>",
			[]string{conflict, failed}, "<oc:checksums/>", sumsOfHello},
		{"a checksum that says nothing", "/f", "<oc:checksums/>", []string{conflict}, "<oc:checksums/>", sumsOfHello},
		{"the time as WinSCP sets it", "/f", "<getlastmodified>Sun, 09 Sep 2001 01:46:40 GMT</getlastmodified>", []string{ok200}, "<lastmodified/>", ">1000000000<"},
		{"the time as Windows sets it", "/f", "<w:Win32LastModifiedTime>Sun, 09 Sep 2001 01:46:40 GMT</w:Win32LastModifiedTime>" +
			"<w:Win32FileAttributes>00000020</w:Win32FileAttributes>", []string{ok200},
			"<w:Win32LastModifiedTime/><w:Win32FileAttributes/>", ">Sun, 09 Sep 2001 01:46:40 GMT</ns:Win32LastModifiedTime><ns:Win32FileAttributes xmlns:ns=\"urn:schemas-microsoft-com:\">00000020<"},
		{"a time that has not come", "/f", "<lastmodified>4102444800</lastmodified>", []string{ok200}, "<getlastmodified/>", ">Fri, 01 Jan 2100 00:00:00 GMT<"},
		{"a time before 1970, of a collection", "/d/", "<lastmodified>-11644473600</lastmodified>", []string{ok200},
			"<getlastmodified/><lastmodified/>", ">Mon, 01 Jan 1601 00:00:00 GMT</D:getlastmodified><D:lastmodified>-11644473600<"},
		{"a time that no date can say", "/f", "<lastmodified>253402300800</lastmodified><x>1</x>", []string{conflict, failed}, "<x/>", missing404},
		{"the first time there is, which stands for none", "/f", "<getlastmodified>Mon, 01 Jan 0001 00:00:00 GMT</getlastmodified><x>1</x>",
			[]string{conflict, failed}, "<x/>", missing404},
		{"one time under each name", "/f", "<getlastmodified>Sun, 09 Sep 2001 01:46:40 GMT</getlastmodified><lastmodified>1000000000.9</lastmodified>" +
			"<w:Win32LastModifiedTime>Sun, 09 Sep 2001 01:46:40 GMT</w:Win32LastModifiedTime>", []string{ok200}, "<lastmodified/>", ">1000000000<"},
		{"two times under two names", "/f", "<x>1</x><getlastmodified>Sun, 09 Sep 2001 01:46:40 GMT</getlastmodified><lastmodified>1000000001</lastmodified>",
			[]string{"<D:getlastmodified/></D:prop><D:status>HTTP/1.1 " + conflict, failed}, "<x/>", missing404},
		{"two times under one name", "/f", "<lastmodified>1</lastmodified><lastmodified>1000000000</lastmodified>", []string{ok200}, "<lastmodified/>", ">1000000000<"},
		{"a time that is none", "/f", "<getlastmodified>yesterday</getlastmodified><x>1</x>", []string{conflict, failed}, "<x/>", missing404},
		{"what the server keeps", "/f", "<x>1</x><getetag>\"x\"</getetag><lastmodified>1</lastmodified>", []string{forbidden, failed}, "<x/>", missing404},
		{"methods", "/f", "<supported-method-set/>", []string{forbidden}, "<x/>", missing404},
		{"more than is kept", "/f", "<lastmodified>1000000000</lastmodified><x>" + strings.Repeat("x", 80<<10) + "</x>",
			[]string{"507 Insufficient Storage</D:status><D:error><D:quota-not-exceeded/></D:error>", failed}, "<x/>", missing404},
	} {
		t.Run(tt.about, func(t *testing.T) {
			h := inMemory(t, Config{}, "d/", "f=hello")
			before := ask(t, h, "HEAD", "/f", "").Header().Get("ETag")
			w := ask(t, h, "PROPPATCH", tt.target, patchOf(tt.set))
			rest := w.Body.String()
			for _, want := range tt.want {
				_, after, found := strings.Cut(rest, want)
				if w.Code != webdav.StatusMulti || !found {
					t.Fatalf("got %d %s\nwant %v in this order", w.Code, w.Body, tt.want)
				}
				rest = after
			}
			w = ask(t, h, "PROPFIND", tt.target, propfindOf(tt.read), "Depth: 0")
			if !strings.Contains(w.Body.String(), tt.value) {
				t.Errorf("then there is %s\nwant %s", w.Body, tt.value)
			}
			if after := ask(t, h, "HEAD", "/f", "").Header().Get("ETag"); after != before {
				t.Errorf("the tag goes from %s to %s", before, after)
			}
		})
	}
}

func TestDeadPropertiesComeBackAsTheyWentIn(t *testing.T) {
	h := inMemory(t, Config{}, "f=hello")
	set := `<D:propertyupdate xmlns:D="DAV:" xmlns:q="urn:q" xml:lang="de"><D:set><D:prop>` +
		`<z:z xmlns:z="urn:z">last letter &lt;first&gt;</z:z>` +
		`<a xmlns="urn:a">mixed <b xmlns="urn:b" t="q:name" u="1">con<!-- no --><c/></b>tent</a>` +
		`<q:q xml:lang="fr">q:value</q:q><none/>` +
		`</D:prop></D:set></D:propertyupdate>`
	if w := ask(t, h, "PROPPATCH", "/f", set); w.Code != webdav.StatusMulti || strings.Count(w.Body.String(), ok200) != 1 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	want := `<ns:z xmlns:ns="urn:z" xml:lang="de">last letter &lt;first&gt;</ns:z>` +
		`<ns:a xmlns:ns="urn:a" xml:lang="de">mixed <b xmlns:q="urn:q" xmlns="urn:b" t="q:name" u="1">con<c/></b>tent</ns:a>` +
		`<ns:q xmlns:ns="urn:q" xml:lang="fr">q:value</ns:q><none xmlns="" xml:lang="de"/>`
	if got := ask(t, h, "PROPFIND", "/f", "", "Depth: 0").Body.String(); !strings.Contains(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	// One that is set again keeps its place, one that is removed leaves it.
	ask(t, h, "PROPPATCH", "/f", `<propertyupdate xmlns="DAV:"><set><prop><z xmlns="urn:z">1</z></prop></set><remove><prop><a xmlns="urn:a"/></prop></remove></propertyupdate>`)
	want = `<ns:z xmlns:ns="urn:z">1</ns:z><ns:q `
	if got := ask(t, h, "PROPFIND", "/f", "", "Depth: 0").Body.String(); !strings.Contains(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// The hashes that a listing names are computed once and kept.
func TestChecksumsOfManyAreAllTold(t *testing.T) {
	layout := []string{"d/"}
	for i := range 70 {
		layout = append(layout, fmt.Sprintf("d/%d=hello", i))
	}
	h := inMemory(t, Config{}, layout...)
	for range 2 {
		w := ask(t, h, "PROPFIND", "/d/", propfindOf("<oc:checksums/>"), "Depth: 1")
		if n := strings.Count(w.Body.String(), sumsOfHello); n != 70 {
			t.Errorf("%d of 70 checksums are told", n)
		}
	}
}

// The size of a file is not sent as its quota, because clients would confuse the two.
func TestQuotaIsOfCollections(t *testing.T) {
	h := newTestHandler(t, Config{Store: storeOn(t, t.TempDir(), fs.Options{}, etagfs.Options{})})
	ask(t, h, "MKCOL", "/d", "")
	ask(t, h, "PUT", "/d/f", "hello")
	for target, want := range map[string]bool{"/": true, "/d/": true, "/d/f": false} {
		for _, body := range []string{propfindOf("<quota-used-bytes/><quota-available-bytes/>"), `<propfind xmlns="DAV:"><propname/></propfind>`} {
			got := ask(t, h, "PROPFIND", target, body, "Depth: 0").Body.String()
			found, _, _ := strings.Cut(got, missing404)
			if has := strings.Contains(found, "quota-") && strings.Contains(found, ok200); has != want {
				t.Errorf("%s has a quota: %v, want %v: %s", target, has, want, got)
			}
		}
	}
}

// A displayname or getcontenttype that a client has set replaces that of the server, like a dead property. A GET has
// that type too.
func TestNameAndTypeCanBeSet(t *testing.T) {
	const allprop, propname = "", `<propfind xmlns="DAV:"><propname/></propfind>`
	remove := func(names string) string {
		return `<propertyupdate xmlns="DAV:"><remove><prop>` + names + `</prop></remove></propertyupdate>`
	}
	h := inMemory(t, Config{}, "d/", "f.txt=hello", "g.html=hello")
	patch := func(target, body, want string) {
		t.Helper()
		if got := ask(t, h, "PROPPATCH", target, body).Body.String(); !strings.Contains(got, want) {
			t.Errorf("PROPPATCH %s %s: %s, want %s", target, body, got, want)
		}
	}
	tells := func(target, want string) {
		t.Helper()
		for _, body := range []string{propfindOf("<displayname/><getcontenttype/>"), allprop,
			`<propfind xmlns="DAV:"><allprop/><include><displayname/><getcontenttype/></include></propfind>`} {
			got := ask(t, h, "PROPFIND", target, body, "Depth: 0").Body.String()
			if !strings.Contains(got, want) || strings.Count(got, "displayname>") > 2 || strings.Count(got, "getcontenttype>") > 2 {
				t.Errorf("PROPFIND %s %s: %s, want %s once", target, body, got, want)
			}
		}
		if got := ask(t, h, "PROPFIND", target, propname, "Depth: 0").Body.String(); strings.Count(got, ":displayname") > 1 {
			t.Errorf("the names of %s: %s", target, got)
		}
	}
	header := func(target, want string) {
		t.Helper()
		for _, method := range []string{"GET", "HEAD"} {
			if got := ask(t, h, method, target, "").Header().Get("Content-Type"); got != want {
				t.Errorf("%s %s is %q, want %q", method, target, got, want)
			}
		}
	}

	tells("/f.txt", "<D:displayname>f.txt</D:displayname>")
	patch("/f.txt", patchOf(`<displayname xml:lang="de">Grüße &amp; mehr</displayname>`), ok200)
	tells("/f.txt", `<D:displayname xml:lang="de">Grüße &amp; mehr</D:displayname>`)
	patch("/d/", patchOf("<displayname>a collection</displayname>"), ok200)
	tells("/d/", "<D:displayname>a collection</D:displayname>")
	patch("/", patchOf("<displayname>the root</displayname>"), ok200)
	tells("/", "<D:displayname>the root</D:displayname>")
	patch("/f.txt", patchOf("<getcontenttype> text/html; charset=gbk </getcontenttype>"), ok200)
	tells("/f.txt", "<D:getcontenttype>text/html; charset=gbk</D:getcontenttype>")
	header("/f.txt", "text/html; charset=gbk")
	if got := ask(t, h, "GET", "/f.txt", "").Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, "sandbox") {
		t.Errorf("what is set to be a page runs without a sandbox: %q", got)
	}
	parts := ask(t, h, "GET", "/f.txt", "", "Range: bytes=0-0,2-2").Body.String()
	if strings.Count(parts, "Content-Type: text/html; charset=gbk") != 2 {
		t.Errorf("the parts are %s", parts)
	}

	// They belong to the resource: a new version, a copy and a moved resource have them.
	ask(t, h, "PUT", "/f.txt", "other")
	header("/f.txt", "text/html; charset=gbk")
	ask(t, h, "COPY", "/f.txt", "", "Destination: /copy")
	ask(t, h, "MOVE", "/copy", "", "Destination: /moved.txt")
	header("/moved.txt", "text/html; charset=gbk")
	tells("/moved.txt", `<D:displayname xml:lang="de">Grüße &amp; mehr</D:displayname>`)

	// Without, they have their old values.
	patch("/f.txt", remove("<displayname/><getcontenttype/>"), ok200)
	tells("/f.txt", "<D:displayname>f.txt</D:displayname>")
	tells("/f.txt", "<D:getcontenttype>text/plain</D:getcontenttype>")
	header("/f.txt", "text/plain")
	patch("/f.txt", remove("<displayname/>"), ok200)

	// A value that is no media type is refused, with all properties of the request.
	for _, value := range []string{"", "nonsense", "text", "text/", "/plain", "text/plain, text/html", "text/html\nX: y", "text/ü", "a/" + strings.Repeat("b", 254)} {
		patch("/f.txt", patchOf("<x/><getcontenttype>"+value+"</getcontenttype>"), "409 Conflict")
		header("/f.txt", "text/plain")
	}
	tells("/f.txt", "<D:displayname>f.txt</D:displayname>")
	patch("/d/", patchOf("<getcontenttype>text/plain</getcontenttype>"), "403 Forbidden")
	for _, active := range []string{"text/html", "TEXT/HTML;x=y", "application/xhtml+xml", "image/svg+xml", "text/xsl", "multipart/x-mixed-replace;boundary=b", "message/rfc822"} {
		patch("/g.html", patchOf("<getcontenttype>"+active+"</getcontenttype>"), ok200)
		if got := ask(t, h, "GET", "/g.html", "").Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, "sandbox") {
			t.Errorf("%s runs without a sandbox: %q", active, got)
		}
	}
	patch("/g.html", patchOf("<getcontenttype>image/png</getcontenttype>"), ok200)
	if got := ask(t, h, "GET", "/g.html", "").Header().Get("Content-Security-Policy"); got != "" {
		t.Errorf("an image is in a sandbox: %q", got)
	}
}

// A body with more properties than a resource may have is refused as too large. A value that is longer than a date is
// no date.
func TestHugePatchesAreRefused(t *testing.T) {
	h := inMemory(t, Config{}, "f=hello")
	var many strings.Builder
	for i := range davxml.MaxProperties {
		fmt.Fprintf(&many, "<p%d/>", i)
	}
	date := "<lastmodified>" + strings.Repeat("1", 10) + "</lastmodified>"
	for _, tt := range []struct {
		about, names string
		want         int
		says         string
	}{
		{"as many as are read", many.String(), webdav.StatusMulti, "507"},
		{"one more", many.String() + "<p/>", http.StatusRequestEntityTooLarge, ""},
		{"a date", date, webdav.StatusMulti, "200"},
		{"a date in much markup", "<lastmodified>" + strings.Repeat("<x/>", 50_000) + "1</lastmodified>", webdav.StatusMulti, "409"},
		{"a long date", "<lastmodified>" + strings.Repeat("1", maxPlain+1) + "</lastmodified>", webdav.StatusMulti, "409"},
	} {
		got := ask(t, h, "PROPPATCH", "/f", patchOf(tt.names))
		if got.Code != tt.want || !strings.Contains(got.Body.String(), tt.says) {
			t.Errorf("%s: %d, want %d with %s: %.300s", tt.about, got.Code, tt.want, tt.says, got.Body)
		}
	}
}
