package charset

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func TestSaid(t *testing.T) {
	for value, want := range map[string]string{
		"":                                  "",
		"text/html":                         "",
		"text/html; charset=ISO-8859-1":     "iso-8859-1",
		`text/html; charset="UTF-8"`:        "utf-8",
		"text/html; charset=a<b":            "",
		`text/html; charset="a b"`:          "",
		"text/html; charset=utf-8; charset": "",
		"text/html; charset=" + strings.Repeat("x", 41): "",
	} {
		if got := Said(http.Header{"Content-Type": {value}}); got != want {
			t.Errorf("%q says %q, want %q", value, got, want)
		}
	}
}

// TestCharsetIsOfItsContent: a charset is told of the content that it was said of, unless that disproves it.
func TestCharsetIsOfItsContent(t *testing.T) {
	const tag, other = tree.ETag(`"abc"`), tree.ETag(`"abd"`)
	for _, test := range []struct{ charset, content, want string }{
		{"utf-8", "", "utf-8"},
		{"utf-8", "plain", "utf-8"},
		{"utf-8", "grün, ein 😀", "utf-8"},
		{"utf-8", "gr\xfcn", ""},
		{"utf-8", "😀"[:3], ""},
		{"utf-8", "😀"[:3] + "x", ""},
		{"utf-8", "\x80", ""},
		{"iso-8859-1", "gr\xfcn", "iso-8859-1"},
	} {
		for how, body := range map[string]io.Reader{
			"at once":      strings.NewReader(test.content),
			"byte by byte": iotest.OneByteReader(strings.NewReader(test.content)),
			"in halves":    iotest.HalfReader(strings.NewReader(test.content)),
		} {
			text := NewBody(body, test.charset)
			if _, err := io.Copy(io.Discard, text); err != nil {
				t.Fatal(err)
			}
			state := tree.State{Tag: tag}
			for _, patch := range text.Describe(tag) {
				state.Properties = append(state.Properties, patch.Props...)
			}
			if got := Of(&state); got != test.want {
				t.Errorf("%s of %q, %s: %q, want %q", test.charset, test.content, how, got, test.want)
			}
			if state.Tag = other; Of(&state) != "" {
				t.Errorf("%q is told of another content", test.charset)
			}
		}
	}
}
