package spelling

import (
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

func TestFold(t *testing.T) {
	for _, spellings := range [][]string{
		{"readme.txt", "README.TXT", "ReadMe.txt", "readme.txt.", "readme.txt ", "readme.txt. .", "readme.txt::$DATA", "read\u00adme.txt", "\ufeffreadme.txt", "readme\u200b.txt", "readme.txt\uf028", "readme.txt\uf029", "\uff52eadme.txt"},
		{"\u00fcbung", "u\u0308bung", "\u00dcBUNG", "U\u0308bung"},
		{"stra\u00dfe", "STRASSE", "stra\u1e9ee", "stra\u017f\u017fe"},
		{"\u212bngstr\u00f6m", "\u00e5ngstro\u0308m", "A\u030aNGSTR\u00d6M"},
		{"\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3"},
		{"\u1fb3", "\u03b1\u03b9", "\u1fbc"},
		{"\u03b1\u0345\u0301", "\u0391\u0301\u0399"},
		{"\ufb01le", "file", "FILE"},
		{"\u212a", "k", "K"},
		{"\u0130\u0131iI", "iiii"},
		{"\uac00", "\u1100\u1161"},
		{"\uf900", "\u8c48"},
		{"d", "d:$I30:$INDEX_ALLOCATION", "D::$INDEX_ALLOCATION"},
		{"...", ". .", "."},
	} {
		for _, s := range spellings[1:] {
			if Fold(s) != Fold(spellings[0]) {
				t.Errorf("%q becomes %q, and %q %q", s, Fold(s), spellings[0], Fold(spellings[0]))
			}
		}
	}
}

// FuzzFold: what a name becomes is what it stays, in whatever spelling.
func FuzzFold(f *testing.F) {
	for _, seed := range []string{"a", "README. ", "\u00dc", "a\u0345\u0301", "\ufb01.", "\xff\u00ad", "a::$DATA", "\uff1a\uff04", "\u0130", "~1", ".ifmatch"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		folded := Fold(s)
		for _, other := range []string{folded, strings.ToUpper(folded), norm.NFD.String(s), norm.NFC.String(s), s + ".", s + " \u00ad"} {
			if strings.Contains(s, ":") && other != folded {
				continue
			}
			if again := Fold(other); again != folded {
				t.Fatalf("%q -> %q, and %q -> %q", s, folded, other, again)
			}
		}
		if IsReserved(s) && !strings.Contains(s, ":") && folded != Own {
			t.Fatalf("%q is reserved, and becomes %q", s, folded)
		}
	})
}

func TestIsReserved(t *testing.T) {
	for _, segment := range []string{
		".ifmatch", ".IFMATCH", ".IfMatch", ".ifmatch.", ".ifmatch ", ".ifmatch. . ", ".ifmatch::$DATA", ".ifmatch:x", ".ifmatch.:$I30:$INDEX_ALLOCATION",
		".if\u00admatch", "\u200b.ifmatch", ".ifmatch\ufeff", ".\ufe0fifmatch", ".ifmatch\U000e0001", ".ifmatch\u3164",
		".\u0131fmatch", ".\u0130FMATCH", "\uff0eifmatch", "\u2024ifmatch", ".\uff49\uff46\uff4d\uff41\uff54\uff43\uff48", ".ifmatch\uf029", ".ifmatch\uf028\uf029",
	} {
		if !IsReserved(segment) {
			t.Errorf("%q is not", segment)
		}
	}
	for _, segment := range []string{
		"", ".", "..", "ifmatch", ".ifmatch2", ".ifmatc", ".ifmatch~", ".ifmatch.bak", "a.ifmatch", " .ifmatch", ".if match", ".ifm\u00e4tch", ".iffmatch", "\u2025ifmatch", "\xff.ifmatch", "\u4e00",
	} {
		if IsReserved(segment) {
			t.Errorf("%q is", segment)
		}
	}
}
