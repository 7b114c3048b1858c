// Package web is the page that browsers get for a collection: files are listed, opened, edited and merged there.
//
// The page is HTML with rows that need no script. Its scripts and styles are embedded, and served as they are written,
// from one path that names their content: see [Assets]. It is written for a request by an [Asking], which knows the
// tree as its principal may see it, so this package knows no rules.
//
// All state is in the files that the scripts change by the methods that other clients use, under the conditions that
// other clients send. [Asking] has the features that these methods lack: a listing with ETags in one answer, names
// that are searched for, a collection as a zip archive, the history.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	iofs "io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzhttp"
)

// A Mode is the kind of answer that a GET of a collection gives. The zero value is [List].
type Mode string

// The modes.
const (
	Full Mode = "full" // the page for browsers, and the list for other clients
	List Mode = "list" // the list of links for all
	Off  Mode = "off"  // an empty page
)

// AssetPath is the path of the [Assets] below the path of the program's own addresses.
const AssetPath = "page/"

//go:embed client.js app
var embedded embed.FS

// An asset is a file of the page.
type asset struct {
	content, gzipped []byte
	media            string
}

// all returns the assets by name, and the version that their content has.
var all = sync.OnceValues(func() (map[string]asset, string) {
	found := map[string]asset{}
	sum := sha256.New()
	err := iofs.WalkDir(embedded, ".", func(name string, d iofs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(content), content)
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err := z.Write(content); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		found[strings.TrimPrefix(name, "app/")] = asset{content, b.Bytes(), mediaOf(name)}
		return nil
	})
	if err != nil {
		panic(err) // an embedded file can be read
	}
	return found, base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:9])
})

func mediaOf(name string) string {
	switch path.Ext(name) { // the machine's table of types must not decide whether scripts run
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	return mime.TypeByExtension(path.Ext(name))
}

// AssetDir is the path of the assets of this program below the path of its own addresses. It has another one whenever
// an asset has changed, so that a browser may keep them for ever.
func AssetDir() string {
	_, version := all()
	return AssetPath + version + "/"
}

// Assets answers a GET or HEAD of an asset. name is the path below [AssetPath]. policy is the policy of scripts that
// the page has: a worker has that of its own answer.
func Assets(w http.ResponseWriter, r *http.Request, name, policy string) {
	files, version := all()
	a, ok := files[strings.TrimPrefix(name, version+"/")]
	if !ok || !strings.HasPrefix(name, version+"/") {
		w.Header().Set("Cache-Control", "no-store") // another version of the program may have it
		http.Error(w, "this server has another version of the page: reload it", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.media)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Encoding")
	content := a.content
	if acceptsGzip(r.Header) && len(a.gzipped) < len(a.content) {
		content = a.gzipped
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(content) // the client is gone, and nothing can be told to it
	}
}

var gzipRefused = regexp.MustCompile(`;\s*q\s*=\s*0(\.0*)?\s*$`)

func acceptsGzip(h http.Header) bool {
	for element := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		coding, _, _ := strings.Cut(element, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			return !gzipRefused.MatchString(element)
		}
	}
	return false
}

// Compressed compresses answers that have no ETag.
var Compressed = sync.OnceValue(func() func(http.Handler) http.HandlerFunc {
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		panic(err) // the options are constants
	}
	return compress
})

// AcceptsPage reports whether a request asks for the page: its Accept names text/html, and not only all types. Programs
// that follow links send */*, and get the list.
func AcceptsPage(h http.Header) bool {
	for element := range strings.SplitSeq(strings.Join(h.Values("Accept"), ","), ",") {
		media, params, err := mime.ParseMediaType(element)
		if err != nil || media != "text/html" {
			continue
		}
		q, err := strconv.ParseFloat(params["q"], 64)
		return params["q"] == "" || err != nil || q > 0
	}
	return false
}

// host matches the authorities that a Content-Security-Policy can name. It can name no IPv6 address.
var host = regexp.MustCompile(`^[A-Za-z0-9._-]+(:[0-9]{1,5})?$`)

// Policy returns the Content-Security-Policy of the page. Its scripts are those in the directory of assets alone, so a
// file that a client has uploaded cannot be one, though it has the same origin. hosts are the authorities by which the
// browser may have asked, and own is the path of the program's own addresses. Where the browser has asked by none that
// a policy can name, the page has no scripts, and works without. frames is the directive about pages that may frame it.
func Policy(hosts []string, own, frames string) string {
	var assets []string
	for _, h := range hosts {
		if host.MatchString(h) {
			assets = append(assets, h+own+AssetDir())
		}
	}
	from := strings.Join(assets, " ")
	if from == "" {
		from = "'none'"
	}
	return strings.Join([]string{
		"default-src 'none'", "script-src " + from, "worker-src " + from, "style-src " + from,
		// Files of the server are shown, and never run: images, sound, films, and documents in a frame.
		"img-src 'self' blob:", "media-src 'self'", "frame-src 'self'", "connect-src 'self'",
		"base-uri 'none'", "form-action 'self'", frames,
		"require-trusted-types-for 'script'", "trusted-types ifmatch-worker",
	}, "; ")
}
