package proxy

import (
	"net/http"
	"regexp"
	"strings"
)

// A hop is one element of Forwarded (RFC 7239 §4), which one proxy has added. A missing parameter is "".
type hop struct {
	from  string // the "for" parameter: the address that sent the request to the proxy
	host  string // the Host of the request to the proxy
	proto string // "https" or "http": the scheme of the request to the proxy
}

// forwarded reads the lines of Forwarded. A malformed line cannot be trusted, and neither can the lines before it: a
// client can leave a quotation mark open, so that the quoted text takes in the element that a proxy appends.
func forwarded(h http.Header) []hop {
	var hops []hop
	for _, line := range h.Values("Forwarded") {
		more, ok := parseForwarded(line)
		if !ok {
			hops = nil
		}
		hops = append(hops, more...)
	}
	return hops
}

// pairForm matches a forwarded-pair, or none, and the delimiter behind it. Every character but a delimiter counts as
// part of a token, because some proxies write a port without quotation marks. quotedForm matches a quoted-pair (RFC
// 9110 §5.6.4).
var (
	pairForm   = regexp.MustCompile(`(?s)^(?:([^ \t,;"=]+)=(?:"((?:[^"\\]|\\.)*)"|([^ \t,;"]+)))?[ \t]*([;,]|$)`)
	quotedForm = regexp.MustCompile(`(?s)\\(.)`)
)

// parseForwarded reads the value of one line:
//
//	Forwarded         = 1#forwarded-element
//	forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )
//	forwarded-pair    = token "=" ( token / quoted-string )
func parseForwarded(s string) (hops []hop, ok bool) {
	for seen := map[string]string{}; ; {
		s = strings.TrimLeft(s, " \t")
		pair := pairForm.FindStringSubmatch(s)
		if pair == nil {
			return nil, false
		}
		s = s[len(pair[0]):]
		if name := strings.ToLower(pair[1]); name != "" { // names have no case
			if _, again := seen[name]; again { // §4: "Each parameter MUST NOT occur more than once"
				return nil, false
			}
			seen[name] = quotedForm.ReplaceAllString(pair[2], "$1") + pair[3]
		}
		if pair[4] != ";" && len(seen) > 0 { // RFC 9110 §5.6.1.2: empty elements are ignored
			hops = append(hops, hop{from: seen["for"], host: seen["host"], proto: seen["proto"]})
			clear(seen)
		}
		if pair[4] == "" {
			return hops, true
		}
	}
}
