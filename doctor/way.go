package doctor

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// forged sends the name of an unknown user in a header of proxies. That must change nothing.
func (v *visit) forged(ctx context.Context, header string) {
	headers := userHeaders
	if header != "" {
		headers = []string{header}
	}
	plain, err := v.ask(ctx, "PROPFIND", v.root, "Depth", "0")
	if v.stop(err) {
		return
	}
	for _, header := range headers {
		forged, err := v.ask(ctx, "PROPFIND", v.root, "Depth", "0", header, "doctor-"+strings.ToLower(rand.Text()))
		if v.stop(err) {
			return
		}
		if forged.StatusCode != plain.StatusCode || forged.detail() != plain.detail() {
			v.Bad(fmt.Sprintf("a client that sends %s is believed (%d %s with it, and %d %s without)", header,
				forged.StatusCode, forged.detail(), plain.StatusCode, plain.detail()),
				"let the proxy clear this header of clients, and let --user-header-from name the proxy alone (docs/users.md)")
			return
		}
	}
	v.Good("a client that sends %s gains nothing", strings.Join(headers, ", "))
}

// files compares the ETags of files on the way with their content, and then looks at conditions with the first one.
func (v *visit) files(ctx context.Context, files []*file) {
	for _, f := range files {
		if !v.tag(ctx, f) {
			return
		}
	}
	v.Good("ETags come through as the server sends them")
	v.conditions(ctx, files[0])
	v.destination(ctx, files[0])
}

// tag compares the ETag of a file with its content, and reports whether they fit.
func (v *visit) tag(ctx context.Context, f *file) bool {
	got, err := v.ask(ctx, http.MethodGet, f.at, "Accept-Encoding", "gzip, br, zstd")
	if v.stop(err) {
		return false
	}
	sum := sha256.Sum256(got.body)
	want := `"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"`
	tag := got.Header.Get("ETag")
	const remedy = " (docs/proxy.md)"
	switch {
	case got.StatusCode == http.StatusUnauthorized || got.StatusCode == http.StatusForbidden:
		v.Note("files cannot be read by this client, so ETags were not looked at",
			"put USER:PASSWORD@ of a user who may read them before the name in the URL")
	case got.StatusCode != http.StatusOK:
		v.Bad("GET of a file is answered "+got.Status, "see the log of the server and of the proxy")
	case got.Header.Get("Content-Encoding") != "":
		v.Bad(fmt.Sprintf("a proxy on the way compresses files (%s), and changes their ETags to such as %s",
			got.Header.Get("Content-Encoding"), tag),
			"turn that off for this server, or start it with --trusted-proxy and the proxy's address"+remedy)
	case strings.HasPrefix(tag, "W/"):
		v.Bad("a proxy on the way weakens ETags, such as "+tag+", with which nothing can be written",
			"turn off compression for this server, or start it with --trusted-proxy and the proxy's address"+remedy)
	case tag == "":
		v.Bad("files have no ETag", "let the proxy pass it on"+remedy+", or give the server time to hash the file")
	case tag != want:
		v.Bad(fmt.Sprintf("the ETag %s is not that of the content, %s", tag, want),
			"a proxy on the way changes ETags, or answers from a cache: turn that off"+remedy)
	case f.tag != tag:
		v.Bad(fmt.Sprintf("the ETag in a listing, %s, is not that of GET, %s", f.tag, tag),
			"a proxy on the way answers from a cache: turn that off"+remedy)
	default:
		return true
	}
	return false
}

// conditions looks whether each condition reaches the server.
func (v *visit) conditions(ctx context.Context, f *file) {
	lost := false
	for _, condition := range []struct {
		header, value string
		want          int
	}{
		{"If-None-Match", f.tag, http.StatusNotModified},
		{"If-Match", `"doctor"`, http.StatusPreconditionFailed},
		{"If", `(["doctor"])`, http.StatusPreconditionFailed}, // RFC 4918 §10.4
		{"If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT", http.StatusPreconditionFailed},
	} {
		got, err := v.ask(ctx, http.MethodGet, f.at, condition.header, condition.value)
		if v.stop(err) {
			return
		}
		if got.StatusCode != condition.want {
			lost = true
			v.Bad(fmt.Sprintf("GET with %s is answered %d, not %d", condition.header, got.StatusCode, condition.want),
				"a proxy on the way takes this condition away, or answers by itself, so that updates can be lost: "+
					"let it pass that on (docs/proxy.md)")
		}
	}
	if !lost {
		v.Good("conditions come through as clients send them")
	}
}

// destination looks at COPY, as that of a file onto itself: the server, whose ETags have shown that it is ifmatch,
// refuses it after it has understood the Destination.
func (v *visit) destination(ctx context.Context, f *file) {
	to := *f.at
	to.User = nil
	got, err := v.ask(ctx, "COPY", f.at, "Destination", to.String(), "Overwrite", "F")
	if v.stop(err) {
		return
	}
	switch got.StatusCode {
	case http.StatusForbidden:
		if strings.Contains(got.detail(), "are the same") {
			v.Good("COPY and its Destination come through")
			return
		}
		fallthrough
	case http.StatusUnauthorized:
		v.Note(fmt.Sprintf("this client may not write (%s), so COPY was not looked at", got.detail()),
			"put USER:PASSWORD@ of a user who may write before the name in the URL")
	case http.StatusBadGateway:
		why, _, _ := strings.Cut(got.detail(), ";")
		v.Bad("COPY and MOVE are answered 502 ("+why+")",
			"start the server with --public-url and this URL, or --trusted-proxy and the proxy's address")
	default:
		v.Bad(fmt.Sprintf("COPY is answered %s %s", got.Status, got.detail()),
			"a proxy on the way refuses this method, or takes Destination away: let it pass both on (docs/proxy.md)")
	}
}
