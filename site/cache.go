package site

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Rule says what Cache-Control the files that match a pattern get.
type Rule struct {
	Match Pattern
	Value string
}

// A Pattern matches names below the path of a site. One without a slash matches the last segment. In one with a slash,
// * stands for any text within a segment, and ** for any text.
type Pattern struct {
	text    string
	whole   bool // it is compared with the whole name
	matches *regexp.Regexp
}

// maxPattern bounds a pattern, in bytes.
const maxPattern = 1024

// ParsePattern reads a pattern such as "*.woff2", "assets/**" or "/robots.txt".
func ParsePattern(text string) (Pattern, error) {
	if text == "" || len(text) > maxPattern {
		return Pattern{}, fmt.Errorf("%q is not a pattern: write one such as *.woff2 or assets/**", text)
	}
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for rest := strings.TrimPrefix(text, "/"); rest != ""; {
		switch {
		case strings.HasPrefix(rest, "**"):
			b.WriteString(`.*`)
			rest = strings.TrimLeft(rest, "*")
		case rest[0] == '*':
			b.WriteString(`[^/]*`)
			rest = rest[1:]
		case rest[0] == '?':
			b.WriteString(`[^/]`)
			rest = rest[1:]
		default:
			n := strings.IndexAny(rest, "*?")
			if n < 0 {
				n = len(rest)
			}
			b.WriteString(regexp.QuoteMeta(rest[:n]))
			rest = rest[n:]
		}
	}
	matches, err := regexp.Compile(b.String() + `$`)
	if err != nil {
		return Pattern{}, fmt.Errorf("%q is not a pattern: write one such as *.woff2 or assets/**", text)
	}
	return Pattern{text, strings.Contains(text, "/"), matches}, nil
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Match reports whether the pattern matches a name below the path of the site.
func (p Pattern) Match(below string) bool {
	if !p.whole {
		below = path.Base(below)
	}
	return p.matches.MatchString(below)
}

// The Cache-Control of files for which no rule is.
const (
	revalidate = "no-cache"
	forever    = "public, max-age=31536000, immutable"
)

// CacheControl returns the Cache-Control of a file. below is its name below the path of the site, and media its type.
// private says that the client has logged in: then no shared cache may keep the answer.
func (s *Site) CacheControl(below, media string, private bool) string {
	value := revalidate
	at := slices.IndexFunc(s.Cache, func(r Rule) bool { return r.Match.Match(below) })
	switch {
	case at >= 0:
		value = s.Cache[at].Value
	case !isPage(media) && s.IsImmutable(below):
		value = forever
	}
	if private {
		return privately(value)
	}
	return value
}

// GraceControl returns the Cache-Control of a file that a publication has displaced, and that is found for a time yet.
// No cache may keep it for longer, as it would be missing then.
func GraceControl(left time.Duration, private bool) string {
	value := fmt.Sprintf("public, max-age=%d", int64(left/time.Second))
	if private {
		return privately(value)
	}
	return value
}

// IsImmutable reports whether a name below the path of the site never gets another content. Without patterns of the
// site, that is an asset with a hexadecimal hash in its name, such as app.3f2a9c8b.js. Other forms of hashes look like
// words and dates of names that people give, and a wrong guess would last for a year.
func (s *Site) IsImmutable(below string) bool {
	if s.Immutable != nil {
		return slices.ContainsFunc(s.Immutable, func(p Pattern) bool { return p.Match(below) })
	}
	return hashedAsset(path.Base(below))
}

// assetTypes are the extensions of files that builds name by their hash.
var assetTypes = map[string]bool{
	".js": true, ".mjs": true, ".css": true, ".map": true, ".wasm": true, ".woff": true, ".woff2": true, ".ttf": true,
	".otf": true, ".png": true, ".jpg": true, ".jpeg": true, ".gif": true, ".svg": true, ".webp": true, ".avif": true,
	".ico": true, ".mp4": true, ".m4v": true, ".webm": true, ".mp3": true, ".m4a": true, ".ogg": true, ".opus": true,
}

// minHash is the length of the shortest hash in names, in hexadecimal digits.
const minHash = 8

func hashedAsset(base string) bool {
	if !assetTypes[extension(base)] {
		return false
	}
	for word := range strings.FieldsFuncSeq(base, func(c rune) bool { return c == '.' || c == '-' || c == '_' }) {
		digits, letters, others := 0, 0, 0
		for _, c := range word {
			switch {
			case c >= '0' && c <= '9':
				digits++
			case c >= 'a' && c <= 'f':
				letters++
			default:
				others++
			}
		}
		// A date with a letter behind it is no hash, nor is a word like "facade".
		if others == 0 && digits+letters >= minHash && digits >= 2 && letters >= 2 {
			return true
		}
	}
	return false
}

// privately returns a Cache-Control that no shared cache keeps (RFC 9111 §5.2.2.7).
func privately(value string) string {
	var kept []string
	for directive := range strings.SplitSeq(value, ",") {
		directive = strings.TrimSpace(directive)
		name, _, _ := strings.Cut(strings.ToLower(directive), "=")
		switch name {
		case "", "public", "private", "s-maxage":
		case "no-store":
			return value
		default:
			kept = append(kept, directive)
		}
	}
	return strings.Join(append([]string{"private"}, kept...), ", ")
}

// checkField fails if a text cannot be the value of a header field (RFC 9110 §5.5).
func checkField(value string) error {
	const most = 8 << 10
	outside := func(r rune) bool { return r < ' ' || r > '~' }
	if value == "" || len(value) > most || strings.ContainsFunc(value, outside) || strings.TrimSpace(value) != value {
		return errors.New("write a text that a header can have: ASCII, not empty, without spaces around it")
	}
	return nil
}
