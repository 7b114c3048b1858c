package accesslog

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
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

// traceOf returns the traceparent of a request (W3C Trace Context, version 00), which a log needs to be found by the
// trace; "" if there is none. Anybody may send one, so its form is checked.
func traceOf(h http.Header) string {
	lines := h["Traceparent"]
	if len(lines) != 1 || len(lines[0]) != len("00-")+32+len("-")+16+len("-00") {
		return ""
	}
	parts := strings.Split(lines[0], "-")
	if len(parts) != 4 || parts[0] != "00" || len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 {
		return ""
	}
	for _, part := range parts {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return ""
		}
	}
	return lines[0]
}
