package excerpt

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestOf(t *testing.T) {
	for _, s := range []string{"", "short", strings.Repeat("x", Max)} {
		if got := Of(s); got != s {
			t.Errorf("%q becomes %q", s, got)
		}
	}
	for _, s := range []string{strings.Repeat("é", 1000), "x" + strings.Repeat("é", 1000), strings.Repeat("𝄞", 1000), "xyz" + strings.Repeat("𝄞", 1000)} {
		got := Of(s)
		if !utf8.ValidString(got) || len(got) > Max+30 || !strings.HasSuffix(got, fmt.Sprintf("… (%d bytes)", len(s))) {
			t.Errorf("%.10q… becomes %q", s, got)
		}
	}
}
