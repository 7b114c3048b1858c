package proxy

import (
	"net/http"
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
			continue
		}
		hops = append(hops, more...)
	}
	return hops
}

// parseForwarded reads the value of one line:
//
//	Forwarded         = 1#forwarded-element
//	forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )
//	forwarded-pair    = token "=" ( token / quoted-string )
func parseForwarded(s string) (hops []hop, ok bool) {
	seen := map[string]string{}
	for {
		s = strings.TrimLeft(s, " \t")
		if s != "" && s[0] != ';' && s[0] != ',' {
			name, value, rest, ok := cutParameter(s)
			if _, again := seen[name]; !ok || again { // §4: "Each parameter MUST NOT occur more than once"
				return nil, false
			}
			seen[name], s = value, strings.TrimLeft(rest, " \t")
		}
		if s != "" && s[0] == ';' {
			s = s[1:]
			continue
		}
		if len(seen) > 0 { // RFC 9110 §5.6.1.2: empty elements are ignored
			hops = append(hops, hop{from: seen["for"], host: seen["host"], proto: seen["proto"]})
			clear(seen)
		}
		if s == "" {
			return hops, true
		}
		if s[0] != ',' {
			return nil, false
		}
		s = s[1:]
	}
}

// cutParameter reads a forwarded-pair from the start of s. Names have no case. Every character but a delimiter counts
// as part of a token, because some proxies write a port without quotation marks.
func cutParameter(s string) (name, value, rest string, ok bool) {
	name, rest, ok = strings.Cut(s, "=")
	if !ok || name == "" || strings.ContainsAny(name, " \t,;\"") {
		return "", "", s, false
	}
	name = strings.ToLower(name)
	if !strings.HasPrefix(rest, `"`) {
		end := strings.IndexAny(rest, " \t,;\"")
		if end < 0 {
			end = len(rest)
		}
		return name, rest[:end], rest[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			return name, b.String(), rest[i+1:], true
		case c == '\\' && i+1 < len(rest): // quoted-pair, RFC 9110 §5.6.4
			i++
			b.WriteByte(rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", s, false
}
