package accesslog

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
)

// maxID bounds the request ids of proxies, in bytes.
const maxID = 64

// requestID returns the id of a request, which the access log, the audit log, the answer (X-Request-Id) and the body of
// a refusal have: that of a trusted proxy, or a new one. It takes no system call. An id is no secret.
func (l Log) requestID(r *http.Request) string {
	if r.Header["X-Request-Id"] != nil {
		if id := r.Header.Get("X-Request-Id"); isID(id) && l.Trusted(r) {
			return id
		}
	}
	var random [8]byte
	binary.LittleEndian.PutUint64(random[:], rand.Uint64())
	var id [2 * len(random)]byte
	hex.Encode(id[:], random[:])
	return string(id[:])
}

// isID reports whether a text can be a request id. Other texts could not be told from the rest of a line of a log.
func isID(s string) bool {
	return s != "" && len(s) <= maxID && strings.Trim(s, idChars) == ""
}

const idChars = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_.:/+=@"

// traceForm matches a traceparent (W3C Trace Context, version 00).
var traceForm = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceOf returns the traceparent of a request, by which a log is found from the trace; "" if there is none. Each client
// may send one, so its form is checked.
func traceOf(h http.Header) string {
	if lines := h["Traceparent"]; len(lines) == 1 && traceForm.MatchString(lines[0]) {
		return lines[0]
	}
	return ""
}
