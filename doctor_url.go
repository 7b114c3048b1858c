package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// doctorFile bounds the file that is read, in bytes, and doctorListing the listing in which it is looked for.
	doctorFile    = 64 << 20
	doctorListing = 4 << 20
	// soon is when a certificate should have been renewed.
	soon = 14 * 24 * time.Hour
)

// url looks at a running server as a client sees it.
func (d *diagnosis) url(ctx context.Context, at, userHeader string) {
	u, err := url.Parse(at)
	if err != nil || u.Hostname() == "" {
		d.bad("this is no URL: "+at, "write one such as https://files.example/")
		return
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // a proxy that compresses is to be found
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	answer, _, err := ask(ctx, client, "OPTIONS", at, nil)
	if untrusted := new(tls.CertificateVerificationError); errors.As(err, &untrusted) {
		d.bad("the certificate is not good: "+untrusted.Err.Error(),
			"get one for this name, such as with --acme "+u.Hostname())
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // for the other looks
		answer, _, err = ask(ctx, client, "OPTIONS", at, nil)
	}
	if d.stop(err) {
		return
	}
	d.transport(u, answer)
	d.webdav(answer)
	d.forged(ctx, client, at, userHeader)
	d.tags(ctx, client, at)
}

// ask sends a request, with headers in pairs, and returns the beginning of the body.
func ask(
	ctx context.Context, client *http.Client, method, at string, body io.Reader, headers ...string,
) (*http.Response, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, at, body)
	if err != nil {
		return nil, nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, doctorFile))
	return answer, content, err
}

// transport looks at the certificate.
func (d *diagnosis) transport(u *url.URL, answer *http.Response) {
	if answer.TLS == nil {
		if host := u.Hostname(); host != "localhost" && host != "127.0.0.1" && host != "::1" {
			d.note("passwords and files go over the network in plain text",
				"use --tls-cert, --acme, or a proxy that speaks https")
		}
		return
	}
	expires := answer.TLS.PeerCertificates[0].NotAfter
	switch left := time.Until(expires); {
	case left < 0:
		d.bad(fmt.Sprintf("the certificate has ended on %s", expires.Format(time.DateOnly)), "renew it")
	case left < soon:
		d.note(fmt.Sprintf("the certificate ends on %s", expires.Format(time.DateOnly)), "see that it is renewed")
	default:
		d.good("the certificate ends on %s", expires.Format(time.DateOnly))
	}
}

func (d *diagnosis) webdav(answer *http.Response) {
	switch {
	case answer.StatusCode == http.StatusUnauthorized:
		d.good("the server wants to know who asks")
	case answer.StatusCode == http.StatusForbidden && answer.Header.Get("X-Request-Id") != "":
		d.bad("the server refuses this name",
			"start it with --public-url and this URL, or --trusted-proxy and the proxy's address")
	case answer.StatusCode/100 != 2 || answer.Header.Get("DAV") == "":
		d.bad(fmt.Sprintf("OPTIONS is answered %s, without DAV", answer.Status),
			"a proxy on the way answers by itself, or no WebDAV server is there: let it pass OPTIONS on")
	default:
		d.good("WebDAV is spoken there")
	}
	if answer.Header.Get("X-Request-Id") == "" {
		d.note("the answer has no X-Request-Id", "a proxy takes it away, or this is no ifmatch")
	}
}

// forged sends the name of an unknown user in the header of the proxy. The status must not change.
func (d *diagnosis) forged(ctx context.Context, client *http.Client, at, header string) {
	plain, _, err := ask(ctx, client, "PROPFIND", at, nil, "Depth", "0")
	if d.stop(err) {
		return
	}
	forged, _, err := ask(ctx, client, "PROPFIND", at, nil, "Depth", "0", header, "doctor-"+strings.ToLower(rand.Text()))
	if d.stop(err) {
		return
	}
	if forged.StatusCode != plain.StatusCode {
		d.bad(fmt.Sprintf("a client that sends %s is believed (%d with it, and %d without)",
			header, forged.StatusCode, plain.StatusCode),
			"let the proxy clear this header of clients, and let --user-header-from name the proxy alone (docs/users.md)")
		return
	}
	d.good("a client that sends %s gains nothing", header)
}

// tags compares the ETag of a file on the way with its content.
func (d *diagnosis) tags(ctx context.Context, client *http.Client, at string) {
	answer, listing, err := ask(ctx, client, "PROPFIND", at, strings.NewReader(
		`<propfind xmlns="DAV:"><prop><getetag/><getcontentlength/><resourcetype/></prop></propfind>`), "Depth", "1")
	if d.stop(err) {
		return
	}
	if answer.StatusCode != http.StatusMultiStatus {
		d.note(fmt.Sprintf("the files cannot be listed without logging in (%s), so ETags were not looked at", answer.Status),
			"")
		return
	}
	file := fileIn(listing, answer.Request.URL)
	if file == "" {
		d.note("no file of at most 64 MB is there, so ETags were not looked at", "put one there, and try again")
		return
	}
	got, content, err := ask(ctx, client, "GET", file, nil, "Accept-Encoding", "gzip")
	if d.stop(err) {
		return
	}
	sum := sha256.Sum256(content)
	want := `"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"`
	tag := got.Header.Get("ETag")
	switch {
	case got.StatusCode == http.StatusUnauthorized || got.StatusCode == http.StatusForbidden:
		d.note("files cannot be read without logging in, so ETags were not looked at", "")
	case got.StatusCode != http.StatusOK:
		d.bad("GET of a file is answered "+got.Status, "see the log of the server and of the proxy")
	case got.Header.Get("Content-Encoding") != "":
		d.bad("a proxy on the way compresses files, and changes their ETags",
			"turn that off for this server, or start it with --trusted-proxy and the proxy's address (docs/proxy.md)")
	case tag != want:
		d.bad(fmt.Sprintf("the ETag %s is not that of the content, %s", tag, want),
			"a proxy on the way changes ETags, or answers from a cache: turn that off (docs/proxy.md)")
	default:
		d.good("ETags come through as the server sends them")
	}
	d.conditions(ctx, client, file, tag)
}

// conditions looks whether a condition reaches the server.
func (d *diagnosis) conditions(ctx context.Context, client *http.Client, file, tag string) {
	if tag == "" {
		return
	}
	same, _, err := ask(ctx, client, "GET", file, nil, "If-None-Match", tag)
	if d.stop(err) {
		return
	}
	other, _, err := ask(ctx, client, "GET", file, nil, "If-Match", `"doctor"`)
	if d.stop(err) {
		return
	}
	if same.StatusCode != http.StatusNotModified || other.StatusCode != http.StatusPreconditionFailed {
		d.bad(fmt.Sprintf("If-None-Match is answered %d, not 304, and If-Match %d, not 412",
			same.StatusCode, other.StatusCode),
			"a proxy on the way takes conditions away: let it pass them on (docs/proxy.md)")
		return
	}
	d.good("conditions come through as clients send them")
}

// fileIn returns the URL of a file in a listing, or "".
func fileIn(listing []byte, at *url.URL) string {
	var found struct {
		Responses []struct {
			Href       string    `xml:"DAV: href"`
			Length     int64     `xml:"DAV: propstat>prop>getcontentlength"`
			Tag        string    `xml:"DAV: propstat>prop>getetag"`
			Collection *struct{} `xml:"DAV: propstat>prop>resourcetype>collection"`
		} `xml:"DAV: response"`
	}
	if len(listing) > doctorListing || xml.Unmarshal(listing, &found) != nil {
		return ""
	}
	for _, r := range found.Responses {
		to, err := at.Parse(r.Href)
		if err == nil && to.Host == at.Host && r.Collection == nil && r.Tag != "" && r.Length < doctorFile {
			return to.String()
		}
	}
	return ""
}
