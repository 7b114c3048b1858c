package exchange

import (
	"net/http"

	"r-seed-1f3a754f.example/ifmatch/wire"
)

// CheckCoding returns 0, or the status with which a request over HTTP/1.0 is refused because it has a
// Transfer-Encoding, as far as that can be known: 400, or 411 if it has no Content-Length.
//
// RFC 9112 §6.1 says that the framing of such a request is faulty. net/http has removed the field, and takes the
// request for one without a body, or its chunks for the body: a PUT would replace a file by either.
func CheckCoding(r *http.Request) (status int) {
	if r.ProtoMajor != 1 || r.ProtoMinor != 0 {
		return 0
	}
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
