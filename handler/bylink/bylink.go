// Package bylink writes the common part of the answers to requests by share links, and the page of a link for dropping
// files.
//
// The URL of such a request is a secret, and its sender may be any person. So no cache keeps an answer, no other site
// learns the URL from a Referer, no search engine lists it, and a file that a browser could run is a download.
package bylink

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/wire"
)

// A Writer is the answer to a request by a share link.
type Writer struct {
	http.ResponseWriter
	// File is the last segment of the name of the file that may be the answer.
	File string
	// Challenge is that of a 401 (RFC 9110 §11.6.1). It is another one than that of the server, so that a browser
	// sends the password of a link nowhere else.
	Challenge string
	// Ended cuts the answer off soon after it reports true: it is asked again and again, at the latest after each
	// 16 MiB.
	Ended func() bool

	begun   bool
	page    bool  // see IsPage
	unasked int64 // bytes since Ended was asked
}

// IsPage notes that the answer is a page of the server, and no file.
func IsPage(w http.ResponseWriter) {
	if b, ok := wire.Inner[*Writer](w); ok {
		b.page = true
	}
}

// askEvery is how many bytes are sent at the most before it is asked whether the link is good still.
const askEvery = 16 << 20

// errEnded is no fault of the server, as the end of a context is none.
var errEnded = fmt.Errorf("the link has ended: %w", context.Canceled)

// ask fails if the link has ended. most is how many bytes are to be sent, and n how many of them may be sent now.
func (w *Writer) ask(most int64) (n int64, err error) {
	if w.unasked >= askEvery {
		if w.Ended != nil && w.Ended() {
			return 0, errEnded
		}
		w.unasked = 0
	}
	return min(most, askEvery-w.unasked), nil
}

func (w *Writer) WriteHeader(status int) {
	if status >= 200 && !w.begun {
		w.begun = true
		w.confine(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// confine sets the fields of the header. It runs last, so that no other part of the server replaces them.
func (w *Writer) confine(status int) {
	h := w.Header()
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", w.Challenge)
	}
	if w.page || status != http.StatusOK && status != http.StatusPartialContent {
		return
	}
	disposition := "inline"
	if !inert(h.Get("Content-Type")) {
		disposition = "attachment"
		h.Set("Content-Security-Policy", "sandbox")
	}
	if h.Get("Content-Disposition") == "" { // an archive has its own
		h.Set("Content-Disposition", disposition+"; filename*=UTF-8''"+url.PathEscape(w.File)) // RFC 6266 §4.3
	}
}

// inert reports whether a browser shows a content of this type, and runs nothing in it that has the rights of the server's
// origin. All other types are downloads. Types that are not known are among these.
func inert(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch media {
	case "text/plain", "application/pdf":
		return true
	case "image/svg+xml":
		return false
	}
	major, minor, _ := strings.Cut(media, "/")
	return (major == "image" || major == "audio" || major == "video") && !strings.HasSuffix(minor, "xml")
}

func (w *Writer) Write(p []byte) (sum int, err error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	for first := true; first || len(p) > 0; first = false {
		most, err := w.ask(int64(len(p)))
		if err != nil {
			return sum, err
		}
		n, err := w.ResponseWriter.Write(p[:most])
		sum, p = sum+n, p[n:]
		if w.unasked += int64(n); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// ReadFrom keeps sendfile: see [io.ReaderFrom]. A reader that is limited already is not limited twice, because only one
// limit is seen through.
func (w *Writer) ReadFrom(src io.Reader) (sum int64, err error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: src, N: 1<<63 - 1}
	}
	for limited.N > 0 {
		most, err := w.ask(limited.N)
		if err != nil {
			return sum, err
		}
		n, err := io.Copy(w.ResponseWriter, &io.LimitedReader{R: limited.R, N: most})
		sum, limited.N, w.unasked = sum+n, limited.N-n, w.unasked+n
		if err != nil || n < most {
			return sum, err
		}
	}
	return sum, nil
}

func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
