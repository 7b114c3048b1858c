// Package excerpt shortens texts of clients, which may be as long as a client likes, for logs and for answers.
package excerpt

import (
	"fmt"
	"unicode/utf8"
)

// Max is the length, in bytes, up to which [Of] leaves a text as it is.
const Max = 1 << 10

// Of returns at most [Max] bytes of a text. A longer text ends with an ellipsis and its length.
func Of(s string) string { return Cut(Max, s) }

// Cut is [Of] with another maximum, in bytes. It never splits a UTF-8 sequence.
func Cut(most int, s string) string {
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:cut], len(s))
}
