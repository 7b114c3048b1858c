package exchange

import (
	"net/http"
	"strconv"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/wire"
)

// CheckFraming returns 0, or the status and the reason with which a request is refused because other programs may see
// another target or another end of it than net/http does, which does not refuse it. A PUT would replace a file by less
// than the client has announced.
func CheckFraming(r *http.Request) (status int, reason string) {
	switch {
	case r.ProtoMajor == 2:
		return checkHTTP2(r)
	case r.ProtoMajor == 1 && r.ProtoMinor == 0:
		if status = checkHTTP10(r); status != 0 {
			return status, "HTTP/1.0 has no Transfer-Encoding; send a Content-Length alone; nothing has changed"
		}
	}
	return 0, ""
}

// checkHTTP2 refuses what RFC 9113 §8.1.1 and §8.3.1 call malformed. net/http compares the bytes of the body with the
// first of several Content-Lengths, takes one that is no number for 0, and reads none if the header ends the stream.
func checkHTTP2(r *http.Request) (status int, reason string) {
	for _, told := range r.Header["Content-Length"] {
		if length, err := strconv.ParseUint(told, 10, 63); err != nil || int64(length) != r.ContentLength {
			return http.StatusBadRequest, "the Content-Length is not the length of the body; nothing has changed"
		}
	}
	for _, host := range r.Header["Host"] {
		if !strings.EqualFold(host, r.Host) {
			return http.StatusBadRequest, "the Host is not that of :authority; send one of them; nothing has changed"
		}
	}
	if r.URL.Host != "" && r.Method != http.MethodConnect {
		return http.StatusBadRequest, "over HTTP/2 the :path begins with a slash; nothing has changed"
	}
	return 0, ""
}

// checkHTTP10 returns 0, or the status for a request over HTTP/1.0 that has a Transfer-Encoding, as far as that can be
// known: 400, or 411 if it has no Content-Length.
//
// RFC 9112 §6.1 says that the framing of such a request is faulty. net/http has removed the field, and takes the
// request for one without a body, or its chunks for the body: a PUT would replace a file by either.
func checkHTTP10(r *http.Request) (status int) {
	_, told := r.Header["Content-Length"]
	switch peer := wire.PeerOf(r); {
	case peer != nil && peer.Tells():
		if !peer.Coded() {
			return 0
		}
	case told || r.Method != http.MethodPut: // mostly it has no coding, and a missing body harms only a PUT
		return 0
	}
	if told {
		return http.StatusBadRequest
	}
	return http.StatusLengthRequired
}
