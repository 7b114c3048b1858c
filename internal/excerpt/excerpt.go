// Package excerpt shortens texts of clients, which may be as long as a client likes, for logs and for answers. It hides the
// tokens of share links in them: such a token is a secret, and stands in URLs.
package excerpt

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Max is the length, in bytes, up to which [Of] leaves a text as it is.
const Max = 1 << 10

// LinkToken is how the token of each share link begins, so that it is known as one wherever it stands.
const LinkToken = "ifmlink_"

// Hidden returns a text with dots in place of the tokens of share links, whole or in part.
func Hidden(s string) string {
	if !strings.Contains(s, LinkToken) {
		return s
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, LinkToken)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString(LinkToken + "…")
		s = strings.TrimPrefix(strings.TrimLeft(after, base64URL), "…") // it may be hidden already
	}
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// Of returns at most [Max] bytes of a text. A longer text ends with an ellipsis and its length.
func Of(s string) string { return Cut(Max, s) }

// Cut is [Of] with another maximum, in bytes. It never splits a UTF-8 sequence.
func Cut(most int, s string) string {
	s = Hidden(s)
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:cut], len(s))
}
