package excerpt

import (
	"strings"
	"testing"
)

// TestHidden: a token of a share link is in no text, and hiding it twice changes nothing.
func TestHidden(t *testing.T) {
	token := LinkToken + strings.Repeat("aZ9-_", 8) + "xyz"
	for text, want := range map[string]string{
		"":                             "",
		"/a/b":                         "/a/b",
		"/l/" + token:                  "/l/ifmlink_…",
		"/l/" + token + "/f":           "/l/ifmlink_…/f",
		token[:20]:                     "ifmlink_…",
		LinkToken:                      "ifmlink_…",
		"a " + token + ", " + token:    "a ifmlink_…, ifmlink_…",
		token + token:                  "ifmlink_…",
		"ifmlink":                      "ifmlink",
		strings.Repeat("x", 2) + token: "xxifmlink_…",
	} {
		got := Of(text)
		if got != want || Of(got) != want {
			t.Errorf("%q becomes %q and %q, want %q", text, got, Of(got), want)
		}
	}
	if long := Of(strings.Repeat("x", Max-4) + token); strings.Contains(long, "aZ9") {
		t.Errorf("a part of the token is at the end: %q", long[Max-10:])
	}
}
