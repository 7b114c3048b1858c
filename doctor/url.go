package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// largestAnswer bounds the answers that are read, in bytes, and so the files that are compared with their tags.
	largestAnswer = 64 << 20
	// soon is when a certificate should have been renewed.
	soon = 14 * 24 * time.Hour
	// clocksOff is how far the clocks of the server and of this machine may be apart.
	clocksOff = time.Minute
)

// userHeaders are those in which proxies usually name users.
var userHeaders = []string{"X-Remote-User", "Remote-User", "X-Forwarded-User", "X-Auth-Request-User", "X-WebAuth-User"}

// A visit is a look at a running server, as a client sees it.
type visit struct {
	*Diagnosis
	client *http.Client
	root   *url.URL // of the collection
	user   bool     // root has a user and a password
}

// URL looks at a running server. userHeader is that in which a proxy names users ("": those that are usual).
func (d *Diagnosis) URL(ctx context.Context, at, userHeader string) {
	u, err := url.Parse(at)
	if err != nil || u.Hostname() == "" {
		d.Bad("this is no URL: "+at, "write one such as https://files.example/")
		return
	}
	if u.Path == "" {
		u.Path = "/"
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // a proxy that compresses is to be found
	defer transport.CloseIdleConnections()
	v := &visit{Diagnosis: d, root: u, user: u.User != nil}
	v.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	answer, err := v.ask(ctx, http.MethodOptions, u)
	if untrusted := new(tls.CertificateVerificationError); errors.As(err, &untrusted) {
		v.Bad("the certificate is not good: "+untrusted.Err.Error(),
			"get one for this name, such as with --acme "+u.Hostname())
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // for the other looks
		answer, err = v.ask(ctx, http.MethodOptions, u)
	}
	if dial := new(net.OpError); errors.As(err, &dial) && dial.Op == "dial" && !dial.Timeout() && ctx.Err() == nil {
		v.Bad("no server is reached: "+dial.Error(), "start it, or correct the name and the port in the URL")
		return
	}
	if v.stop(err) {
		return
	}
	v.transport(answer)
	if !v.webdav(answer) {
		return
	}
	v.forged(ctx, userHeader)
	if files := v.listing(ctx); len(files) > 0 {
		v.files(ctx, files)
	}
}

// An answer is one whose body was read.
type answer struct {
	*http.Response
	body []byte
}

// detail returns why a request was refused (RFC 9457), if the answer says so.
func (a *answer) detail() string {
	var problem struct{ Detail string }
	if json.Unmarshal(a.body, &problem) != nil {
		return ""
	}
	return problem.Detail
}

// ask sends a request without a body, with headers in pairs, or with a body where the last of them is alone.
func (v *visit) ask(ctx context.Context, method string, at *url.URL, headers ...string) (*answer, error) {
	var body io.Reader
	if len(headers)%2 == 1 {
		body = strings.NewReader(headers[len(headers)-1])
	}
	r, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	got, err := v.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	content, err := io.ReadAll(io.LimitReader(got.Body, largestAnswer+1))
	if err == nil && len(content) > largestAnswer {
		err = fmt.Errorf("%s %s: the answer is larger than %d bytes", method, at.Redacted(), largestAnswer)
	}
	return &answer{got, content}, err
}

// transport looks at the certificate and at the clock of the server.
func (v *visit) transport(a *answer) {
	if date, err := http.ParseTime(a.Header.Get("Date")); err == nil {
		if off := time.Until(date).Round(time.Second); off.Abs() > clocksOff {
			v.Note(fmt.Sprintf("the clock of the server is %v from that of this machine", off),
				"let both follow a time server: dates of files follow the clock")
		}
	}
	if a.TLS == nil {
		host := v.root.Hostname()
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			v.Note("passwords and files go over the network in plain text",
				"use --tls-cert, --acme, or a proxy that speaks https")
		}
		return
	}
	expires := a.TLS.PeerCertificates[0].NotAfter
	switch left := time.Until(expires); {
	case left < 0:
		v.Bad(fmt.Sprintf("the certificate has ended on %s", expires.Format(time.DateOnly)), "renew it")
	case left < soon:
		v.Note(fmt.Sprintf("the certificate ends on %s", expires.Format(time.DateOnly)), "see that it is renewed")
	default:
		v.Good("the certificate ends on %s", expires.Format(time.DateOnly))
	}
}

// webdav looks at the answer to OPTIONS, and reports whether further looks make sense.
func (v *visit) webdav(a *answer) bool {
	switch {
	case a.StatusCode == http.StatusUnauthorized && v.user:
		v.Bad("this password is refused", "write the right one in the URL, with %-escapes, or leave it out")
		return false
	case a.StatusCode == http.StatusUnauthorized:
		v.Note("the server wants to know who asks, so little can be looked at",
			"put USER:PASSWORD@ before the name in the URL")
	case a.StatusCode/100 == 3:
		v.Bad("this URL leads to "+a.Header.Get("Location")+", where clients of WebDAV do not follow", "use that one")
		return false
	case a.StatusCode == http.StatusMisdirectedRequest,
		a.StatusCode == http.StatusForbidden && a.Header.Get("X-Request-Id") != "":
		v.Bad("the server refuses this name",
			"start it with --public-url and this URL, or --trusted-proxy and the proxy's address")
	case a.StatusCode/100 != 2 || a.Header.Get("DAV") == "":
		v.Bad(fmt.Sprintf("OPTIONS is answered %s, without DAV", a.Status),
			"a proxy on the way answers by itself, or no WebDAV server is there: let it pass OPTIONS on")
	default:
		v.Good("WebDAV is spoken there")
	}
	if a.Header.Get("X-Request-Id") == "" {
		v.Note("the answer has no X-Request-Id", "a proxy takes it away, or this is no ifmatch")
	}
	return true
}

// listing looks at PROPFIND, and returns files whose tags can be compared with their content.
func (v *visit) listing(ctx context.Context) []*file {
	a, err := v.ask(ctx, "PROPFIND", v.root, "Depth", "1", "Content-Type", "application/xml",
		`<propfind xmlns="DAV:"><prop><getetag/><getcontentlength/><resourcetype/></prop></propfind>`)
	if v.stop(err) {
		return nil
	}
	switch {
	case a.StatusCode == http.StatusUnauthorized && v.user:
		v.Bad("this password is refused", "write the right one in the URL, with %-escapes, or leave it out")
		return nil
	case a.StatusCode == http.StatusNotFound:
		v.Note("nothing is there for this client (404 Not Found), so ETags were not looked at",
			"name a collection that is there, or put USER:PASSWORD@ of a user who may list it before the name in the URL")
		return nil
	case a.StatusCode == http.StatusUnauthorized, a.StatusCode == http.StatusForbidden:
		v.Note(fmt.Sprintf("the files cannot be listed by this client (%s), so ETags were not looked at", a.Status),
			"put USER:PASSWORD@ of a user who may list them before the name in the URL")
		return nil
	case a.StatusCode != http.StatusMultiStatus:
		v.Bad("PROPFIND is answered "+a.Status,
			"let the proxy pass on all methods of WebDAV, and see that the URL is that of a collection")
		return nil
	}
	var found multistatus
	if err := xml.Unmarshal(a.body, &found); err != nil {
		v.Bad("the answer to PROPFIND is no XML ("+err.Error()+")", "a proxy on the way changes it: turn that off")
		return nil
	}
	v.Good("files are listed")
	v.depth(ctx)
	files := found.files(v.root)
	if len(files) == 0 {
		v.Note(fmt.Sprintf("no file of at most %d MB is there, so ETags were not looked at", largestAnswer>>20),
			"put one there, and try again")
	}
	return files
}

// depth looks whether the header Depth comes through: without it, a listing is of the whole tree (RFC 4918 §9.1).
func (v *visit) depth(ctx context.Context) {
	a, err := v.ask(ctx, "PROPFIND", v.root, "Depth", "0", "Content-Type", "application/xml",
		`<propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>`)
	if v.stop(err) {
		return
	}
	var found multistatus
	if a.StatusCode != http.StatusMultiStatus || xml.Unmarshal(a.body, &found) != nil || len(found.Responses) != 1 {
		v.Bad(fmt.Sprintf("PROPFIND with Depth: 0 is answered %s, for %d resources and not for 1", a.Status, len(found.Responses)),
			"a proxy on the way takes Depth away: let it pass that on (docs/proxy.md)")
	}
}

// A multistatus is a listing (RFC 4918 §14.16).
type multistatus struct {
	Responses []struct {
		Href       string    `xml:"DAV: href"`
		Length     int64     `xml:"DAV: propstat>prop>getcontentlength"`
		Tag        string    `xml:"DAV: propstat>prop>getetag"`
		Collection *struct{} `xml:"DAV: propstat>prop>resourcetype>collection"`
	} `xml:"DAV: response"`
}

// A file is one in a listing.
type file struct {
	at     *url.URL
	tag    string
	length int64
}

const (
	// mostFiles are compared with their tags.
	mostFiles = 3
	// worthCompressing is the length from which proxies compress, by the defaults of nginx, Caddy and Apache.
	worthCompressing = 1024
)

// compressed are the ends of names that proxies compress by default.
var compressed = []string{".txt", ".html", ".css", ".js", ".json", ".xml", ".svg", ".md", ".csv"}

// files returns some files of a listing, those first which a proxy would compress, and of these the shortest first.
func (m *multistatus) files(root *url.URL) (all []*file) {
	for _, r := range m.Responses {
		to, err := root.Parse(r.Href)
		if err != nil || to.Host != root.Host || r.Collection != nil || r.Tag == "" || r.Length > largestAnswer {
			continue
		}
		to.User = root.User
		all = append(all, &file{to, r.Tag, r.Length})
	}
	rank := func(f *file) int64 {
		text := slices.ContainsFunc(compressed, func(end string) bool { return strings.HasSuffix(f.at.Path, end) })
		if text && f.length >= worthCompressing {
			return f.length
		}
		return largestAnswer + f.length
	}
	slices.SortStableFunc(all, func(a, b *file) int {
		return int(rank(a)) - int(rank(b))
	})
	return all[:min(len(all), mostFiles)]
}
