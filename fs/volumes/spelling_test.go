package volumes

import (
	"testing"
)

func TestAlike(t *testing.T) {
	for _, pair := range [][2]string{{"readme.txt", "README.TXT. ."}, {"\u00fcbung", "U\u0308BUNG"},
		{"d", "D::$INDEX_ALLOCATION"},
		{"\u0130\u0131iI", "iiii"}} {
		if !Alike(pair[0], pair[1]) || !Alike("x/"+pair[0]+"/y", "x/"+pair[1]+"/y") {
			t.Errorf("%q and %q are not alike", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{{"a", "b"}, {"a", "aa"}, {"a", ".a"}, {"a", " a"}, {"a", "a b"}, {"\u00fc", "u"},
		{"a:b", "a"}, {"a", "a~"}, {"a/b", "a"}, {"a", "a/b"}, {"", "a"}} {
		if Alike(pair[0], pair[1]) {
			t.Errorf("%q and %q are alike", pair[0], pair[1])
		}
	}
	if !Alike("a long name.txt", "ALONGN~1.TXT") || !Alike("x/PROGRA~1./y", "x/program files/y") {
		t.Error("a short name is not alike")
	}
}

func TestIsShort(t *testing.T) {
	for segment, want := range map[string]bool{
		"IFMATC~1": true, "ifmatc~2": true, "IF3F2A~1": true, "IFMATC~1.": true, "ifmatc~1 ": true,
		"IFMATC~1::$INDEX_ALLOCATION": true, "if~": true,
		"": false, "if": false, "iffy~backup": false, "a~1": false, "~if": false, "IFMATCH~10": false,
	} {
		if got := isShort(segment); got != want {
			t.Errorf("isShort(%q) = %v", segment, got)
		}
	}
}

func TestIsRespelled(t *testing.T) {
	for segment, want := range map[string]bool{
		"": false, ".": false, "..": false, "f": false, "f.txt": false, "~": false, "a~1": false, ".hidden": false,
		"if": false, "iffy~backup": false,
		".ifmatch.": true, ".ifmatch ": true, ".ifmatch. .": true, "d\\.ifmatch": true, "f:stream": true,
		".ifmatch::$INDEX_ALLOCATION": true, "IFMATC~1": true, "ifmatc~2": true, "IF3F2A~1": true, "...": true,
	} {
		if got := isRespelled(segment); got != want {
			t.Errorf("isRespelled(%q) = %v", segment, got)
		}
	}
}
